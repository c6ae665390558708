"""Who is believed: the settings of Clerk and of the test mode. Variables as in ``gateway/settings.py``."""

from base64 import b64decode
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from repo.environment import EnvironmentSettings, listed
from schemas.accounts import Role
from schemas.ids import is_name

JWKS_PATH = "/.well-known/jwks.json"
SECRET_PREFIX, SECRET_BYTES_MIN = "whsec_", 16
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class IdentitySettings(EnvironmentSettings):
    """Clerk is believed where its issuer is named; several secrets are for the days in which one replaces another."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    env: Literal["development", "test", "staging", "production"] = "development"
    test_mode: bool = False
    test_user: str = "test-user-videos-integration"
    test_role: Role = Role.USER

    clerk_issuer: str | None = None
    clerk_jwks_url: str | None = None
    clerk_authorized_parties: Annotated[tuple[str, ...], NoDecode] = ()
    clerk_skew_seconds: float = Field(default=5.0, ge=0, le=60)
    clerk_cooldown_seconds: float = Field(default=5.0, gt=0, le=300)
    clerk_webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()

    @field_validator("env", mode="before")
    @classmethod
    def _in_small_letters(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("test_user", mode="after")
    @classmethod
    def _is_user_id(cls, value: str) -> str:
        if not is_name(value):
            raise ValueError("a user id has 1 to 128 letters, digits and . : @ | _ -")
        return value

    @field_validator("clerk_authorized_parties", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        return tuple(one.rstrip("/") for one in listed(value)) if isinstance(value, str) else value

    @field_validator("clerk_webhook_secret", mode="before")
    @classmethod
    def _split_secrets(cls, value: Any) -> Any:
        return listed(value) if isinstance(value, str) else value

    @field_validator("clerk_webhook_secret", mode="after")
    @classmethod
    def _are_secrets(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(is_signing_secret(secret.get_secret_value()) for secret in value):
            raise ValueError("copy the signing secret from Clerk: whsec_ and base64")
        return value

    @field_validator("clerk_issuer", "clerk_jwks_url", mode="after")
    @classmethod
    def _is_safe_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if not parts.hostname or parts.username or parts.scheme not in {"https", "http"}:
            raise ValueError("an address like https://clerk.example.org")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("keys that come over plain HTTP could be anybody's: use https")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _is_no_open_door(self) -> Self:
        if self.test_mode and self.env == "production":
            raise ValueError(
                "OPENV_TEST_MODE lets everyone in without a credential, which OPENV_ENV=production forbids: unset one"
            )
        return self

    @property
    def jwks_url(self) -> str | None:
        """Where the issuer's keys are; None where Clerk is off."""
        return self.clerk_jwks_url or f"{self.clerk_issuer}{JWKS_PATH}" if self.clerk_issuer else None


def is_signing_secret(text: str) -> bool:
    """Whether it is whole: the library would sign with what is left of a torn one, which is soon guessed."""
    encoded = text.removeprefix(SECRET_PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    return text.startswith(SECRET_PREFIX) and len(key) >= SECRET_BYTES_MIN
