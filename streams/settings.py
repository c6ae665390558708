"""What the streams read from the environment besides the servers: OpenV's limits, and the shell's own timings."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parseaddr
from enum import StrEnum
from typing import Literal, Self

import structlog
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from repo.core.addresses import Rules, read_networks
from repo.environment import EnvironmentSettings
from schemas.instants import LAST, from_datetime
from schemas.topics import DAY
from streams.core.forgetting import LEAST_DAYS, Kept, Terms
from streams.core.policy import Policy
from streams.core.quota import period_of

log = structlog.get_logger()

# What schemas/numbers.py lets into a document: a limit beyond it would be decided by, but could not be written down.
_MOST = 1e12
_LONGEST_S = 10 * 366 * 86_400
_DAYS_MOST = 36_500

_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class Role(StrEnum):
    """One Faust app each; a process runs one or all."""

    LEDGER = "ledger"
    SCHEDULER = "scheduler"
    JANITOR = "janitor"
    NOTIFIER = "notifier"


@dataclass(frozen=True, slots=True)
class Mailing:
    """The SMTP server for mails, and whom they are from. ``tls``: from the start, by STARTTLS, or not at all."""

    host: str
    port: int
    sender: str
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)


class StreamsSettings(EnvironmentSettings):
    """Each member is the environment variable of the same name in capitals. Seconds, unless the name says otherwise.

    A limit window that can't be read, that has one end only, or that does not end after it begins, counts as none, as
    in OpenV: the month holds. Dates are ISO 8601; the end is the last instant that is still in the window.
    """

    openv_streams_role: Role | Literal["all"] = "all"

    monthly_limit_seconds: float = Field(default=600.0, ge=0, le=_MOST)
    limit_start_date: str | None = None
    limit_end_date: str | None = None
    openv_max_active: int = Field(default=3, ge=0)
    openv_rate_limit: int = Field(default=5, ge=1)
    openv_rate_window_seconds: float = Field(default=10.0, gt=0, le=_LONGEST_S)
    openv_max_retries: int = Field(default=2, ge=0)
    openv_retry_delay_seconds: float = Field(default=2.0, ge=0, le=_LONGEST_S)
    openv_ttl_seconds: float = Field(default=86_400.0, gt=0, le=_LONGEST_S)
    openv_execution_timeout_seconds: float = Field(default=3_600.0, gt=0, le=_LONGEST_S)
    openv_refund_on_cancel: Literal["all", "used", "none"] = "all"
    openv_credits_required: bool = False
    openv_credits_per_video: float = Field(default=0.0, ge=0, le=_MOST)

    # How soon a dead process's partitions move on, and how much is read again after a kill.
    openv_streams_session_timeout_seconds: float = Field(default=8.0, ge=1)
    openv_streams_heartbeat_seconds: float = Field(default=1.5, gt=0)
    openv_streams_commit_seconds: float = Field(default=0.5, gt=0)
    # When the watchdog ends the process, and how often the second look at the topics is taken.
    openv_streams_stall_seconds: float = Field(default=60.0, gt=0)
    openv_streams_look_seconds: float = Field(default=5.0, gt=0)
    openv_streams_tick_seconds: float = Field(default=1.0, gt=0)
    openv_streams_reconcile_seconds: float = Field(default=60.0, gt=0)
    # How long a running message may take after SIGTERM.
    openv_streams_grace_seconds: float = Field(default=3.0, ge=0)

    # How long things are kept, in days; 0: for ever. What must outlive the records that name it has a least.
    openv_retention_video_days: int = Field(default=0, ge=0, le=_DAYS_MOST)
    openv_retention_tombstone_days: int = Field(default=400, ge=0, le=_DAYS_MOST)
    openv_retention_rejected_days: int = Field(default=LEAST_DAYS, ge=0, le=_DAYS_MOST)
    openv_retention_upload_days: int = Field(default=LEAST_DAYS, ge=0, le=_DAYS_MOST)
    openv_retention_key_days: int = Field(default=7, ge=0, le=_DAYS_MOST)
    openv_retention_replay_days: int = Field(default=90, ge=0, le=_DAYS_MOST)

    # What users are told: where the gateway is reached, which addresses webhooks may lead to, who sends mail.
    openv_public_url: str | None = None
    openv_webhook_allow_http: bool = False
    openv_webhook_allowed_networks: str = ""
    openv_smtp_host: str | None = None
    openv_smtp_port: int | None = Field(default=None, ge=1, le=65535)
    openv_smtp_username: str | None = None
    openv_smtp_password: SecretStr | None = None
    openv_smtp_from: str | None = None
    openv_smtp_tls: Literal["starttls", "tls", "none"] = "starttls"

    @field_validator("openv_webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @field_validator(
        "openv_retention_tombstone_days",
        "openv_retention_rejected_days",
        "openv_retention_upload_days",
        "openv_retention_replay_days",
    )
    @classmethod
    def _outlives_its_records(cls, value: int) -> int:
        if 0 < value < LEAST_DAYS:
            raise ValueError(f"0 (for ever), or {LEAST_DAYS} at least: records that name these are kept for so long")
        return value

    @field_validator("openv_public_url")
    @classmethod
    def _without_a_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value is not None else None

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Self:
        if self.openv_smtp_host is not None and "@" not in parseaddr(self.openv_smtp_from or "")[1]:
            raise ValueError("OPENV_SMTP_HOST needs OPENV_SMTP_FROM, an address like OpenV <videos@example.org>")
        if (self.openv_smtp_username is None) != (self.openv_smtp_password is None):
            raise ValueError("OPENV_SMTP_USERNAME and OPENV_SMTP_PASSWORD go together")
        return self

    @field_validator("openv_streams_heartbeat_seconds")
    @classmethod
    def _well_below_the_session(cls, value: float, info: ValidationInfo) -> float:
        session = info.data.get("openv_streams_session_timeout_seconds")
        if session is not None and value * 2 > session:
            raise ValueError("at least two heartbeats must fit into OPENV_STREAMS_SESSION_TIMEOUT_SECONDS")
        return value

    @property
    def roles(self) -> tuple[Role, ...]:
        """What this process runs."""
        return tuple(Role) if self.openv_streams_role == "all" else (Role(self.openv_streams_role),)

    @property
    def webhook_rules(self) -> Rules:
        """Which addresses webhooks may lead to."""
        return Rules(self.openv_webhook_allow_http, read_networks(self.openv_webhook_allowed_networks))

    @property
    def mailing(self) -> Mailing | None:
        """How mails are sent; None: not at all."""
        if self.openv_smtp_host is None or self.openv_smtp_from is None:
            return None
        password = self.openv_smtp_password
        return Mailing(
            host=self.openv_smtp_host,
            port=self.openv_smtp_port or _SMTP_PORTS[self.openv_smtp_tls],
            sender=self.openv_smtp_from,
            tls=self.openv_smtp_tls,
            username=self.openv_smtp_username,
            password=password.get_secret_value() if password is not None else None,
        )

    def terms(self, now: int) -> Terms:
        """How long documents of jobs are kept, as the walk's core takes it."""
        return Terms(
            videos_ms=_days(self.openv_retention_video_days),
            tombstones_ms=_days(self.openv_retention_tombstone_days),
            rejected_ms=_days(self.openv_retention_rejected_days),
            period_start=period_of(self.policy(), now)[0],
        )

    def kept(self) -> Kept:
        """How long everything is kept that the walk looks at."""
        return Kept(
            terms=self.terms,
            uploads_ms=_days(self.openv_retention_upload_days),
            keys_ms=_days(self.openv_retention_key_days),
            aged_ms=_days(self.openv_retention_replay_days),
        )

    def policy(self) -> Policy:
        """The deployment's limits as the ledger's core takes them."""
        return Policy(
            monthly_limit_seconds=self.monthly_limit_seconds,
            limit_window=_window(self.limit_start_date, self.limit_end_date),
            max_active=self.openv_max_active,
            rate_limit=self.openv_rate_limit,
            rate_window_ms=_ms(self.openv_rate_window_seconds),
            max_retries=self.openv_max_retries,
            backoff_base_ms=_ms(self.openv_retry_delay_seconds),
            ttl_ms=_ms(self.openv_ttl_seconds),
            execution_timeout_ms=_ms(self.openv_execution_timeout_seconds),
            credits_required=self.openv_credits_required,
            credits_per_video=self.openv_credits_per_video,
            refund_on_cancel=self.openv_refund_on_cancel,
        )


def _days(number: int) -> int | None:
    return number * DAY if number else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _window(start: str | None, end: str | None) -> tuple[int, int] | None:
    if start is None and end is None:
        return None
    first, last = _instant("LIMIT_START_DATE", start), _instant("LIMIT_END_DATE", end)
    if first is None or last is None:
        return None
    if last <= first:
        log.warning("LIMIT_END_DATE is not after LIMIT_START_DATE: the limit counts by calendar month")
        return None
    return first, last


def _instant(name: str, text: str | None) -> int | None:
    """An ISO 8601 date or date and time; UTC where it names no offset. Moved into what documents can hold."""
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        log.warning("not set, or no ISO date such as 2026-11-01: the limit counts by calendar month", variable=name)
        return None
    return min(max(from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC)), 0), LAST - 1)
