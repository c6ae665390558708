"""What a worker with the engine ``runpod`` reads besides: the endpoint, how much at a time, and how it hears of it."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from repo.core.addresses import Rules, read_networks
from repo.environment import EnvironmentSettings, SettingsError, listed

SECRET_LEAST = 32  # characters, as the gateway has it
SLOTS_MOST = 64
_WHERE = {
    "endpoint": "the endpoint's id (what follows /v2/ in its address; RunPod's console shows it under Serverless)",
    "api_key": "a key that may read and write there (RunPod's console, API Keys; it is shown once)",
}


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
            raise ValueError("an endpoint's id is letters, digits, - and _: of an address, what follows /v2/")
        return value

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("a key is ASCII without spaces and line ends")
        return value

    @field_validator("result_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        """All that is missing at once, and where it is to be had: whoever is told so has to go there anyway."""
        wrong = error.errors(include_input=False, include_url=False, include_context=False)
        missing = [str(one["loc"][0]) for one in wrong if one["type"] == "missing"]
        if not missing:
            return super()._sentence(error)
        return (
            f"{' and '.join(map(cls._variable, missing))} {'is' if len(missing) == 1 else 'are'} not set: "
            f"OPENV_ENGINE=runpod needs {' and '.join(_WHERE[name] for name in missing)}. "
            "All but this worker runs without it, workers with other engines too."
        )

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
                "OPENV_RUNPOD_WEBHOOK_URL needs the gateway's OPENV_WEBHOOK_SECRET here too, the same "
                f"{SECRET_LEAST} characters or more (`openssl rand -hex 32` makes one for both). Without either, "
                "RunPod is asked instead of calling, and all else works."
            )
        return secrets[0]
