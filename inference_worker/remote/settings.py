"""What a worker with the engine ``runpod`` reads besides: the endpoint, how much at a time, and how it hears of it."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from repo.core.addresses import Rules, read_networks
from repo.environment import EnvironmentSettings, SettingsError, listed

SECRET_LEAST = 32  # characters, as the gateway has it
SLOTS_MOST = 64


class RunPodSettings(EnvironmentSettings):
    """``webhook_url`` is where RunPod reaches our gateway (an origin); without one, the endpoint is only asked.

    ``adopt_s``: how long a submission that nobody answered may yet announce itself before it is made again.
    ``result_…``: what is let in of what workers there name as their result.
    """

    model_config = SettingsConfigDict(env_prefix="OPENV_RUNPOD_")

    url: str = "https://api.runpod.ai/v2"
    endpoint: str
    api_key: SecretStr
    slots: int = Field(default=8, ge=1, le=SLOTS_MOST)
    webhook_url: str | None = None
    poll_s: float = Field(default=1.0, gt=0, le=600)
    poll_most_s: float = Field(default=15.0, gt=0, le=600)
    adopt_s: float = Field(default=30.0, ge=0, le=3600)
    sweep_s: float = Field(default=30.0, gt=0, le=3600)
    result_bytes: int = Field(default=1_073_741_824, gt=0)
    result_seconds: float = Field(default=600.0, gt=0)
    result_allow_http: bool = False
    result_networks: str = ""

    @field_validator("url", "webhook_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)
        except ValueError:
            good = False
        if not good:
            raise ValueError("an address like https://api.example.org/v2")
        return value.rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _is_endpoint(cls, value: str) -> str:
        if not value.replace("-", "").replace("_", "").isalnum() or not value.isascii() or len(value) > 128:
            raise ValueError("an endpoint's id: letters, digits, - and _")
        return value

    @field_validator("result_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    def rules(self) -> Rules:
        """Where results may lie."""
        return Rules(allow_http=self.result_allow_http, networks=read_networks(self.result_networks))


class Signing(EnvironmentSettings):
    """The gateway's secrets; it accepts all of them, and the first signs."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    webhook_secret: SecretStr | None = None

    def first(self) -> str:
        """Raises ``SettingsError``."""
        secrets = listed(self.webhook_secret.get_secret_value()) if self.webhook_secret else ()
        if not secrets or len(secrets[0]) < SECRET_LEAST:
            raise SettingsError(
                f"OPENV_RUNPOD_WEBHOOK_URL needs the gateway's OPENV_WEBHOOK_SECRET, {SECRET_LEAST} characters or more."
            )
        return secrets[0]
