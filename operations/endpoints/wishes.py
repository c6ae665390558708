"""What an operator asks of a serverless endpoint, and what becomes of it: pure, and every mistake one sentence."""

import base64
import re
from dataclasses import dataclass, replace
from typing import Any

from gateway.identity.settings import is_signing_secret
from operations.local import require_user_id
from operations.stack.errors import StackError
from schemas.endpoints import (
    ENDPOINT_ID,
    EndpointKind,
    EndpointLimits,
    ServerlessEndpoint,
    external_pool,
)
from schemas.ids import is_name
from schemas.requests import MODEL

ENGINES = ("mochi",)
GENERATE = "generate"
DESCRIPTION_MAX = 500
SECRET_BYTES = 32
LIMITS = ("max_active", "rate_limit", "rate_window_ms")
OWN = ("max_retries", "execution_timeout_ms", "ttl_ms", "result_ms", "description")
_ID = re.compile(ENDPOINT_ID[1:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was said. None: not said, so that it stays as it is, or is the default. Times as in the endpoint, ms.

    What may be absent has a wish that takes it away: ``deployment_limits`` the limits of its own, ``everyone`` the
    ``users``, ``drop_signing`` the ``signing`` secret of completion webhooks, ``drop_description`` the description.
    """

    engine: str | None = None
    external: bool = False
    pool: str | None = None
    max_active: int | None = None
    rate_limit: int | None = None
    rate_window_ms: int | None = None
    deployment_limits: bool = False
    max_retries: int | None = None
    execution_timeout_ms: int | None = None
    ttl_ms: int | None = None
    result_ms: int | None = None
    users: tuple[str, ...] = ()
    everyone: bool = False
    signing: str | None = None
    drop_signing: bool = False
    description: str | None = None
    drop_description: bool = False


def require_endpoint_id(name: str) -> None:
    """Raises ``StackError`` for what can be no endpoint's name."""
    if _ID.fullmatch(name) is None:
        raise StackError(
            "An endpoint's name has 1 to 40 small letters, digits and -, and begins with a letter or a digit."
        )


def require_sense(wishes: Wishes) -> None:
    """Raises ``StackError`` for what nobody can have meant."""
    if wishes.engine is not None and wishes.external:
        raise StackError("Say either --engine or --external: either our workers run its jobs, or others.")
    if wishes.engine is not None and wishes.engine not in ENGINES:
        raise StackError(f"An engine is one of {', '.join(ENGINES)}; for workers of your own say --external.")
    if wishes.deployment_limits and _said(wishes, LIMITS):
        raise StackError(
            "Say either --deployment-limits or limits of its own (--max-active, --rate-limit, --rate-window)."
        )
    if wishes.users and wishes.everyone:
        raise StackError("Say either --user or --everyone.")
    if wishes.signing is not None and wishes.drop_signing:
        raise StackError("Say either --webhook-secret or --no-webhook-secret.")
    if wishes.signing is not None and not is_signing_secret(wishes.signing):
        raise StackError(f"A webhook secret is whsec_ and base64 of at least 16 bytes; `{GENERATE}` makes one.")
    if wishes.description is not None and wishes.drop_description:
        raise StackError("Say either --description or --no-description.")
    for user in wishes.users:
        require_user_id(user)
    if len(wishes.description or "") > DESCRIPTION_MAX or not (wishes.description or "").isprintable():
        raise StackError(f"A description has at most {DESCRIPTION_MAX} characters, in one line.")


def new_endpoint(name: str, wishes: Wishes, now: int) -> ServerlessEndpoint:
    """A first version. Raises ``StackError``."""
    kind = EndpointKind.EXTERNAL if wishes.external else EndpointKind.ENGINE
    bare = ServerlessEndpoint(
        endpoint_id=name,
        kind=kind,
        pool=_default_pool(kind, name),
        version=1,
        created_at=now,
        updated_at=now,
        limits=EndpointLimits(),
    )
    return replace(_wished(bare, wishes), version=1)


def changed(endpoint: ServerlessEndpoint, wishes: Wishes, now: int) -> ServerlessEndpoint:
    """The next version. Raises ``StackError``, also where nothing was asked."""
    if wishes == Wishes():
        raise StackError("Say what to change: `openv endpoints update --help` lists it.")
    return replace(_wished(endpoint, wishes), version=endpoint.version + 1, updated_at=now)


def signing_secret(chance: bytes) -> str:
    """A secret as Standard Webhooks write them, of ``SECRET_BYTES`` random bytes."""
    return f"whsec_{base64.b64encode(chance).decode()}"


def _wished(endpoint: ServerlessEndpoint, wishes: Wishes) -> ServerlessEndpoint:
    require_sense(wishes)
    changes: dict[str, Any] = _said(wishes, OWN)
    kind = endpoint.kind
    if wishes.external or wishes.engine is not None:
        kind = EndpointKind.EXTERNAL if wishes.external else EndpointKind.ENGINE
    changes |= {
        "kind": kind,
        "pool": _pool(endpoint, kind, wishes.pool),
        "limits": _limits(endpoint.limits, wishes),
    }
    if wishes.users or wishes.everyone:
        changes["users"] = tuple(dict.fromkeys(wishes.users)) or None
    if wishes.signing is not None or wishes.drop_signing:
        changes["webhook_secret"] = wishes.signing
    if wishes.drop_description:
        changes["description"] = ""
    return replace(endpoint, **changes)


def _limits(own: EndpointLimits | None, wishes: Wishes) -> EndpointLimits | None:
    """None: the deployment's. Where there were none, one that is said brings the defaults of the others along."""
    if wishes.deployment_limits:
        return None
    said = _said(wishes, LIMITS)
    return replace(own or EndpointLimits(), **said) if said else own


def _said(wishes: Wishes, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(wishes, name)) is not None}


def _default_pool(kind: EndpointKind, name: str) -> str:
    return external_pool(name) if kind is EndpointKind.EXTERNAL else MODEL


def _pool(endpoint: ServerlessEndpoint, kind: EndpointKind, asked: str | None) -> str:
    if asked is None:
        return endpoint.pool if kind is endpoint.kind else _default_pool(kind, endpoint.endpoint_id)
    if kind is EndpointKind.EXTERNAL:
        raise StackError("An endpoint with external workers has a pool of its own: leave --pool out.")
    if not is_name(asked) or any(one in asked for one in ":@|"):
        raise StackError("A pool's name has 1 to 128 letters, digits and . _ -, and begins with a letter or digit.")
    if asked.startswith(external_pool("")):
        raise StackError(f"Pools that begin with {external_pool('')} belong to endpoints with external workers.")
    return asked
