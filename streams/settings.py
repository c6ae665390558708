"""What the streams read from the environment besides the servers: OpenV's limits, and the shell's own timings."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

import structlog
from pydantic import Field, ValidationInfo, field_validator

from repo.environment import EnvironmentSettings
from schemas.instants import from_datetime
from streams.core.policy import Policy

log = structlog.get_logger()


class Role(StrEnum):
    """One Faust app each; a process runs one or all."""

    LEDGER = "ledger"
    SCHEDULER = "scheduler"
    JANITOR = "janitor"


class StreamsSettings(EnvironmentSettings):
    """Each member is the environment variable of the same name in capitals. Seconds, unless the name says otherwise.

    A limit window that can't be read, or that ends before it begins, counts as none, as in OpenV: the month holds.
    """

    openv_streams_role: Role | Literal["all"] = "all"

    monthly_limit_seconds: float = Field(default=600.0, ge=0)
    limit_start_date: str | None = None
    limit_end_date: str | None = None
    openv_max_active: int = Field(default=3, ge=0)
    openv_rate_limit: int = Field(default=5, ge=1)
    openv_rate_window_seconds: float = Field(default=10.0, gt=0)
    openv_max_retries: int = Field(default=2, ge=0)
    openv_retry_delay_seconds: float = Field(default=2.0, ge=0)
    openv_ttl_seconds: float = Field(default=86_400.0, gt=0)
    openv_execution_timeout_seconds: float = Field(default=3_600.0, gt=0)
    openv_refund_on_cancel: Literal["all", "used", "none"] = "all"
    openv_credits_required: bool = False
    openv_credits_per_video: float = Field(default=0.0, ge=0)

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
    """An ISO 8601 date or date and time; UTC where it names no offset."""
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        log.warning("not an ISO date such as 2026-11-01: the limit counts by calendar month", variable=name)
        return None
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
