"""What is said of an upload that waits for a store: the outage and its end, not each try."""

import asyncio
from collections.abc import Callable

import structlog

from schemas.dispatch import RunAttempt

SAY_AGAIN_S = 30.0  # and from then on each time the wait has doubled

log = structlog.get_logger()


class Waiting:
    """One attempt's. ``waits()`` is called once for every outage, at its first failed try. ``store`` None: the main."""

    def __init__(self, order: RunAttempt, waits: Callable[[], None]) -> None:
        self._waits = waits
        self._since: float | None = None
        self._say_at = 0.0
        self._log = log.bind(job_id=order.job_id, attempt=order.attempt)

    def refused(self, store: str | None, reason: str) -> None:
        """One try has failed."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = self._say_at = now
            self._waits()
        if now >= self._say_at:
            waited = now - self._since
            self._log.warning("upload_waits", store=store or "main", reason=reason, waited_s=round(waited, 1))
            self._say_at = now + max(SAY_AGAIN_S, waited)

    def over(self, store: str | None) -> None:
        """A file was taken, whether or not there was a wait."""
        if self._since is not None:
            waited = asyncio.get_running_loop().time() - self._since
            self._log.warning("upload_goes_on", store=store or "main", waited_s=round(waited, 1))
        self._since = None

    def given_up(self) -> None:
        """No store took it in time."""
        self._log.error("upload_given_up")
