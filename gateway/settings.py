"""The gateway's settings, each from an environment variable ``OPENV_…`` of the member's name in capitals."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from gateway.core.addresses import is_proxy
from gateway.core.listing import Form
from gateway.identity.settings import IdentitySettings
from gateway.notification_settings import NotificationSettings
from gateway.webhook_settings import WebhookSettings
from repo.environment import listed
from schemas.accounts import Role

# "Every address" is nowhere a browser could go.
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- a name to compare with, nothing is bound here


class GatewaySettings(IdentitySettings, WebhookSettings, NotificationSettings):
    """Where to listen and the limits. ``public_url`` is how browsers reach the gateway; None: host and port."""

    model_config = SettingsConfigDict(env_prefix="OPENV_")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str | None = None
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()

    decision_timeout_seconds: float = Field(default=2.0, gt=0, le=60)
    append_margin_seconds: float = Field(default=1.0, ge=0, le=60)
    body_bytes: int = Field(default=1024 * 1024, ge=1024)
    head_seconds: float = Field(default=10.0, gt=0, le=300)
    body_seconds: float = Field(default=60.0, gt=0, le=3600)
    shed_requests: int = Field(default=50, ge=1)
    shed_window_seconds: float = Field(default=10.0, gt=0)
    usage_requests: int = Field(default=10, ge=1)
    videos_format: Form = Form.ARRAY
    openai_models: Annotated[tuple[str, ...], NoDecode] = ("sora-2", "sora-2-pro")  # other names of Mochi there

    serverless_requests: int = Field(default=2_000, ge=1)  # changes of a user in the same time, on /v2
    serverless_waits_per_user: int = Field(default=2_000, ge=1)
    serverless_body_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)

    worker_poll_seconds: float = Field(default=60.0, ge=1, le=80)  # of a poll for jobs; RunPod's SDK gives up after 90
    worker_polls: int = Field(default=10_000, ge=1)  # that wait at one gateway
    worker_slots: int = Field(default=2_000, ge=1)  # jobs that one endpoint's workers may ask for or have there

    window_seconds: float = Field(default=300.0, gt=0)
    window_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    progress_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)

    sockets_max: int = Field(default=10_000, ge=1)
    sockets_per_user: int = Field(default=50, ge=1)
    sockets_per_address: int = Field(default=500, ge=1)
    handshakes_per_address: int = Field(default=3000, ge=1)  # a minute
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    socket_auth_seconds: float = Field(default=5.0, gt=0)
    socket_heartbeat_seconds: float = Field(default=20.0, gt=0)
    socket_queue_frames: int = Field(default=1024, ge=8)
    socket_queue_bytes: int = Field(default=1024 * 1024, ge=1024)
    socket_message_bytes: int = Field(default=16 * 1024, ge=1024)
    socket_subscribes_per_minute: int = Field(default=60, ge=1)
    snapshot_jobs: int = Field(default=100, ge=1, le=500)

    default_role: Role = Role.RESTRICTED  # of whom the identity provider names and nobody has given a role
    terms_version: str = Field(default="1.0.0", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    terms_required: bool = False
    terms_url: str | None = Field(default=None, pattern=r"^https?://[^\s\"<>]+$")  # where people can read them

    voucher_tries: int = Field(default=10, ge=1)  # a minute and user, each gateway
    ticket_seconds: int = Field(default=30, ge=1, le=300)
    ticket_requests: int = Field(default=120, ge=1)  # a minute and user, each gateway
    key_cache_seconds: float = Field(default=10.0, gt=0, le=30)
    session_days: float = Field(default=30.0, gt=0)
    signed_url_seconds: int = Field(default=3600, ge=60, le=604_800)

    @field_validator("openai_models", mode="before")
    @classmethod
    def _split_models(cls, value: Any) -> Any:
        return listed(value) if isinstance(value, str) else value

    @field_validator("openai_models", mode="after")
    @classmethod
    def _are_models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", name) for name in value):
            raise ValueError("names of models like sora-2, separated by commas")
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: Any) -> Any:
        return listed(value) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _are_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Addresses and networks: whom they name may say where a request comes from, so "any" must not be sayable."""
        if not all(is_proxy(part) for part in value):
            raise ValueError("addresses or networks of proxies, like 10.0.0.7 or 10.0.0.0/24, separated by commas")
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(one.rstrip("/") for one in listed(value)) if isinstance(value, str) else value

    @field_validator("allowed_origins", mode="after")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Whole origins: their pages may act with a visitor's cookie, so that "any" must not be sayable."""
        for origin in value:
            parts = urlsplit(origin)
            named = parts.scheme in {"http", "https"} and parts.hostname and "*" not in origin and "@" not in origin
            if not named or origin != f"{parts.scheme}://{parts.netloc}".lower():
                raise ValueError("origins like https://app.example.org, in small letters, without a path or a *")
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
