"""Where the three servers are, read from the environment, and a second S3 server if there is one.

Secrets are ``SecretStr``: they never show in a log.
"""

import os
import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from repo.environment import EnvironmentSettings

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
BUCKET_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$"
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s,:\[\]]+)(:[0-9]{1,5})?"


class ServerSettings(EnvironmentSettings):
    """Kafka, MongoDB and S3. Each member is the environment variable of the same name in capitals.

    ``s3_public_endpoint_url`` is what signed URLs carry: where browsers reach S3, if that differs from where we do.
    """

    kafka_bootstrap_servers: str
    kafka_security_protocol: str = Field(default="PLAINTEXT", pattern=f"^({'|'.join(SECURITY_PROTOCOLS)})$")
    kafka_sasl_mechanism: str = Field(default="PLAIN", pattern=f"^({'|'.join(SASL_MECHANISMS)})$")
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: str | None = None
    kafka_ssl_certfile: str | None = None
    kafka_ssl_keyfile: str | None = None
    kafka_ssl_key_password: SecretStr | None = None

    mongodb_uri: str
    mongodb_database: str = Field(default="openv", pattern=r'^[^\s/\\."$]{1,63}$')

    s3_endpoint_url: str
    s3_public_endpoint_url: str | None = None
    s3_access_key_id: str
    s3_secret_access_key: SecretStr
    s3_bucket: str = Field(default="openv", pattern=BUCKET_PATTERN)
    s3_region: str = "us-east-1"

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        if re.fullmatch(rf"\s*{_HOST}(\s*,\s*{_HOST})*\s*", value) is None:
            raise ValueError("name servers as host:port, with commas between them")
        return value

    @field_validator("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
    @classmethod
    def _is_readable(cls, value: str | None) -> str | None:
        if value is not None and not os.access(value, os.R_OK):
            raise ValueError("there is no such file, or it can't be read")
        return value

    @field_validator("mongodb_uri")
    @classmethod
    def _is_mongodb(cls, value: str) -> str:
        if not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("an address that begins with mongodb:// or mongodb+srv://")
        return value

    @field_validator("s3_endpoint_url", "s3_public_endpoint_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return _http(value)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL"):
            for name in ("kafka_sasl_username", "kafka_sasl_password"):
                if getattr(self, name) is None:
                    raise ValueError(f"{self.kafka_security_protocol} needs {name.upper()}")
        if self.kafka_ssl_keyfile is not None and self.kafka_ssl_certfile is None:
            raise ValueError("KAFKA_SSL_KEYFILE needs KAFKA_SSL_CERTFILE, the certificate that it belongs to")
        return self

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        sentence = super()._sentence(error)
        if sentence.endswith((" is not set.", " are not set.")):
            return f"{sentence[:-1]}: name the servers there, or start local ones with `openv up`."
        return sentence

    @property
    def s3_signing_url(self) -> str:
        """The endpoint that signed URLs name."""
        return self.s3_public_endpoint_url or self.s3_endpoint_url


class FallbackSettings(EnvironmentSettings):
    """The second store, for files that the first one does not take: S3's variables as ``S3_FALLBACK_…``.

    ``endpoint_url`` None: there is none. Gateway, streams and workers read the same ones.
    """

    model_config = SettingsConfigDict(env_prefix="S3_FALLBACK_")

    endpoint_url: str | None = None
    public_endpoint_url: str | None = None
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    bucket: str = Field(default="openv", pattern=BUCKET_PATTERN)
    region: str = "us-east-1"

    @field_validator("endpoint_url", "public_endpoint_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return _http(value)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.endpoint_url and not (self.access_key_id and self.secret_access_key.get_secret_value()):
            raise ValueError(
                "S3_FALLBACK_ENDPOINT_URL needs S3_FALLBACK_ACCESS_KEY_ID and S3_FALLBACK_SECRET_ACCESS_KEY"
            )
        return self

    def as_servers(self, servers: ServerSettings) -> ServerSettings | None:
        """The same servers, but with this store as S3; None where there is none."""
        if self.endpoint_url is None:
            return None
        changes = {
            "s3_endpoint_url": self.endpoint_url,
            "s3_public_endpoint_url": self.public_endpoint_url,
            "s3_access_key_id": self.access_key_id,
            "s3_secret_access_key": self.secret_access_key,
            "s3_bucket": self.bucket,
            "s3_region": self.region,
        }
        return servers.model_copy(update=changes)


def _http(value: str | None) -> str | None:
    """The address, if it is one."""
    if value is not None and not _is_http(value):
        raise ValueError("an address like https://s3.example.org")
    return value


def _is_http(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, a bracket too many
        return False
