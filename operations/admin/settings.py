"""The admin API's settings, each from an environment variable ``OPENV_…`` of the member's name in capitals. The trusted
proxies are the gateway's too."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from gateway.core.addresses import is_proxy
from repo.environment import EnvironmentSettings, listed


class AdminSettings(EnvironmentSettings):
    """Where to listen, whom to believe, and the limits. ``admin_expose``: that it may listen on other addresses than
    the loopback's, from which it could be reached without TLS."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    admin_host: str = "127.0.0.1"
    admin_port: int = Field(default=8001, ge=0, le=65535)
    admin_expose: bool = False
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    admin_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)  # a dead letter of the largest size, in base64
    admin_head_seconds: float = Field(default=10.0, gt=0, le=300)
    admin_body_seconds: float = Field(default=60.0, gt=0, le=3600)
    admin_failed_tries: int = Field(default=20, ge=1)  # a minute and address
    admin_backup_dir: Path | None = None  # where backups that are asked for over HTTP are written

    data_dir: Path = Path(".openv")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: Any) -> Any:
        return listed(value) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _are_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(is_proxy(part) for part in value):
            raise ValueError("addresses or networks of proxies, like 10.0.0.7 or 10.0.0.0/24, separated by commas")
        return value

    @model_validator(mode="after")
    def _is_meant_to_be_reached(self) -> Self:
        if not self.admin_expose and not is_loopback(self.admin_host):
            raise ValueError(
                f"OPENV_ADMIN_HOST={self.admin_host} lets other machines reach the admin API, which speaks no TLS: "
                "put a proxy with TLS before it and say OPENV_ADMIN_EXPOSE=true, or leave it on 127.0.0.1"
            )
        return self

    def address(self, port: int) -> str:
        """Where it is, on the port that the system gave."""
        return f"http://[{self.admin_host}]:{port}" if ":" in self.admin_host else f"http://{self.admin_host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
