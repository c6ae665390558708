"""The gateway's settings, each from an environment variable ``OPENV_…`` of the member's name in capitals."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from repo.environment import EnvironmentSettings

# "Every address" is nowhere a browser could go.
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- a name to compare with, nothing is bound here


class GatewaySettings(EnvironmentSettings):
    """Where to listen and the limits. ``public_url`` is how browsers reach the gateway; None: host and port."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str | None = None
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()

    decision_timeout_seconds: float = Field(default=2.0, gt=0, le=60)
    append_margin_seconds: float = Field(default=1.0, ge=0, le=60)
    body_bytes: int = Field(default=1024 * 1024, ge=1024)
    shed_requests: int = Field(default=50, ge=1)
    shed_window_seconds: float = Field(default=10.0, gt=0)
    usage_requests: int = Field(default=10, ge=1)

    window_seconds: float = Field(default=300.0, gt=0)
    window_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    progress_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)

    sockets_max: int = Field(default=10_000, ge=1)
    sockets_per_user: int = Field(default=50, ge=1)
    socket_auth_seconds: float = Field(default=5.0, gt=0)
    socket_heartbeat_seconds: float = Field(default=20.0, gt=0)
    socket_queue_frames: int = Field(default=1024, ge=8)
    socket_queue_bytes: int = Field(default=1024 * 1024, ge=1024)
    socket_message_bytes: int = Field(default=16 * 1024, ge=1024)
    socket_subscribes_per_minute: int = Field(default=60, ge=1)
    snapshot_jobs: int = Field(default=100, ge=1, le=500)

    key_cache_seconds: float = Field(default=10.0, gt=0, le=30)
    session_days: float = Field(default=30.0, gt=0)
    signed_url_seconds: int = Field(default=3600, ge=60, le=604_800)

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("public_url", mode="after")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.rstrip("/"):
            raise ValueError("an address like https://videos.example.org, without a path")
        return f"{parts.scheme}://{parts.netloc}"

    def on_port(self, port: int) -> "GatewaySettings":
        """These settings on the port that the system gave, with the public address filled in."""
        host = LOOPBACK_OF.get(self.host, self.host)
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self.model_copy(update={"port": port, "public_url": self.public_url or address})

    @property
    def origin(self) -> str:
        """The public address."""
        return self.public_url or f"http://{self.host}:{self.port}"
