"""The settings of users' webhooks, as far as the gateway goes; the notifier reads the same ``OPENV_WEBHOOK_…``."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from repo.core.addresses import Rules, read_networks
from repo.environment import EnvironmentSettings


class NotificationSettings(EnvironmentSettings):
    """``webhook_changes``: how often in a minute a user may change, test and redeliver."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    webhooks_per_user: int = Field(default=10, ge=0, le=100)
    webhook_changes: int = Field(default=30, ge=1)
    webhook_allow_http: bool = False
    webhook_allowed_networks: str = ""

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @property
    def webhook_rules(self) -> Rules:
        """Which addresses webhooks may lead to."""
        return Rules(self.webhook_allow_http, read_networks(self.webhook_allowed_networks))
