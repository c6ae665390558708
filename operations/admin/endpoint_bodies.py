"""What may be asked of an endpoint over HTTP: the members that ``GET`` shows, in the ranges of the command line.

A member that is left out stays as it is, or has its default; null takes away what an endpoint may lack.
"""

import secrets
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from operations.admin.operation import Asked
from operations.endpoints.options import DAY, YEAR_MINUTES
from operations.endpoints.wishes import DESCRIPTION_MAX, ENGINES, GENERATE, SECRET_BYTES, Wishes, signing_secret
from schemas.endpoints import EXECUTION_TIMEOUT_MS, TTL_MS, EndpointId, EndpointKind
from schemas.ids import WORDS_MAX

USERS_MAX = 1_000
MAY_LACK = frozenset({"limits", "users", "webhook_secret", "description"})
UserId = Annotated[str, Field(min_length=1, max_length=128)]


class Limits(Asked):
    """Limits of one user there; those that are left out stay as they are. ``rateWindowMs`` in ms."""

    max_active: int | None = Field(default=None, ge=0, le=1_000_000)
    rate_limit: int | None = Field(default=None, ge=1, le=1_000_000)
    rate_window_ms: int | None = Field(default=None, ge=1_000, le=DAY * 1_000)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("at least one limit, none of them null")
        return self


class EndpointWish(Asked):
    """What is left out stays as it is. null: ``limits`` the deployment's hold, ``users`` everyone, ``webhookSecret``
    unsigned, ``description`` none; nothing else may be null. ``webhookSecret``: ``generate``, or one of your own.
    ``reason`` is kept in the audit: no secrets."""

    kind: EndpointKind | None = None
    pool: str | None = Field(default=None, min_length=1, max_length=128)
    limits: Limits | None = None
    max_retries: int | None = Field(default=None, ge=0, le=100)
    execution_timeout_ms: int | None = Field(default=None, ge=EXECUTION_TIMEOUT_MS[0], le=EXECUTION_TIMEOUT_MS[1])
    ttl_ms: int | None = Field(default=None, ge=TTL_MS[0], le=TTL_MS[1])
    result_ms: int | None = Field(default=None, ge=60_000, le=YEAR_MINUTES * 60_000)
    users: Annotated[tuple[UserId, ...], Field(min_length=1, max_length=USERS_MAX)] | None = None
    webhook_secret: str | None = Field(default=None, max_length=200, repr=False)
    description: str | None = Field(default=None, max_length=DESCRIPTION_MAX)
    reason: str = Field(default="", max_length=WORDS_MAX)

    @model_validator(mode="after")
    def _takes_away_what_it_can(self) -> Self:
        said = [name for name in sorted(self.model_fields_set) if getattr(self, name) is None]
        if not set(said) <= MAY_LACK:
            raise ValueError(f"null is for {', '.join(map(to_camel, sorted(MAY_LACK)))} alone")
        return self


class WantedEndpoint(EndpointWish):
    """As in a change; what is left out has its default."""

    endpoint_id: EndpointId


def wishes_of(asked: EndpointWish) -> tuple[Wishes, str | None]:
    """As the command line would say it, and the secret that was made for it, if one was."""
    made = signing_secret(secrets.token_bytes(SECRET_BYTES)) if asked.webhook_secret == GENERATE else None
    limits = asked.limits.model_dump() if asked.limits is not None else {}
    wished: dict[str, Any] = {
        "engine": ENGINES[0] if asked.kind is EndpointKind.ENGINE else None,
        "external": asked.kind is EndpointKind.EXTERNAL,
        "pool": asked.pool,
        **limits,
        "deployment_limits": _taken_away(asked, "limits"),
        "max_retries": asked.max_retries,
        "execution_timeout_ms": asked.execution_timeout_ms,
        "ttl_ms": asked.ttl_ms,
        "result_ms": asked.result_ms,
        "users": asked.users or (),
        "everyone": _taken_away(asked, "users"),
        "signing": made or asked.webhook_secret,
        "drop_signing": _taken_away(asked, "webhook_secret"),
        "description": asked.description,
        "drop_description": _taken_away(asked, "description"),
    }
    return Wishes(**wished), made


def _taken_away(asked: EndpointWish, member: str) -> bool:
    return member in asked.model_fields_set and getattr(asked, member) is None
