"""The settings of webhook calls that come in: how a caller shows that it may, and how often it may call."""

from typing import Annotated, Any

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from repo.environment import EnvironmentSettings, listed

SECRET_MIN = 32


class WebhookSettings(EnvironmentSettings):
    """``webhook_token``: what the query must carry, None refuses all; also read under OpenV's own name for it.

    ``webhook_secret``: for signed addresses, with commas between; the first signs, all are accepted.
    ``webhook_requests``: calls about one job in ``OPENV_SHED_WINDOW_SECONDS``.
    """

    model_config = SettingsConfigDict(env_prefix="OPENV_", populate_by_name=True)

    webhook_token: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPENV_WEBHOOK_TOKEN", "RUNPOD_WEBHOOK_TOKEN")
    )
    webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    webhook_requests: int = Field(default=100, ge=1)

    @field_validator("webhook_secret", mode="before")
    @classmethod
    def _secrets(cls, value: Any) -> Any:
        return listed(value) if isinstance(value, str) else value

    @field_validator("webhook_secret", mode="after")
    @classmethod
    def _are_long(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value()) < SECRET_MIN for secret in value):
            raise ValueError(f"each secret must have at least {SECRET_MIN} characters")
        return value
