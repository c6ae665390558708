"""Where the three servers are, read from the environment. Secrets are ``SecretStr``: they never show in a log."""

from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class SettingsError(Exception):
    """A variable is missing or wrong; the message is one sentence that names it."""


class ServerSettings(BaseSettings):
    """Kafka, MongoDB and S3. Each member is the environment variable of the same name in capitals.

    ``s3_public_endpoint_url`` is what signed URLs carry: where browsers reach S3, if that differs from where we do.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    kafka_bootstrap_servers: str
    kafka_security_protocol: str = Field(default="PLAINTEXT", pattern=f"^({'|'.join(SECURITY_PROTOCOLS)})$")
    kafka_sasl_mechanism: str = Field(default="PLAIN", pattern=f"^({'|'.join(SASL_MECHANISMS)})$")
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: str | None = None

    mongodb_uri: str
    mongodb_database: str = "openv"

    s3_endpoint_url: str
    s3_public_endpoint_url: str | None = None
    s3_access_key_id: str
    s3_secret_access_key: SecretStr
    s3_bucket: str = "openv"
    s3_region: str = "us-east-1"

    def __init__(self, **values: Any) -> None:
        """Read the environment; ``values`` come first. Raises ``SettingsError``."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_sentence(error)) from None

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL"):
            for name in ("kafka_sasl_username", "kafka_sasl_password"):
                if getattr(self, name) is None:
                    raise ValueError(f"{self.kafka_security_protocol} needs {name.upper()}")
        return self

    @property
    def s3_signing_url(self) -> str:
        """The endpoint that signed URLs name."""
        return self.s3_public_endpoint_url or self.s3_endpoint_url


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, without its value, which may be a secret."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    words = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"The server settings do not fit together: {words}."
    name = str(first["loc"][0]).upper()
    if first["type"] == "missing":
        return f"{name} is not set: name the server there, or start a local one with `openv up`."
    return f"{name} is not valid: {words[:1].lower()}{words[1:]}."
