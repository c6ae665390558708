"""What the slots of one process share: the endpoint, the book, the bells, and how long to wait for what."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from inference_worker.core.runpod_answers import FIRST_PAUSE_MS, LAST_PAUSE_MS, pause_ms
from inference_worker.remote.book import Book
from inference_worker.remote.calls import Calls
from inference_worker.remote.errands import Errands
from inference_worker.remote.service import Service
from repo.core.addresses import Rules
from repo.download import Bounds
from repo.outgoing import Outgoing
from schemas.ids import is_name
from schemas.signed_calls import Signed, signed_call

LOOKS = 2  # at results, at a time: each may take a core
CALLS_AFTER_S = 3_600  # a call may come this long after the attempt's time is over


@dataclass(frozen=True, slots=True)
class Patience:
    """Milliseconds. ``adopt_ms``: after an intent, for a call of the service. ``lost_ms``: for how long the service
    must not know a run before it is lost. ``cancel_ms``: between the first two tries of a cancellation."""

    adopt_ms: int = 30_000
    poll_ms: int = FIRST_PAUSE_MS
    poll_most_ms: int = LAST_PAUSE_MS
    lost_ms: int = 10_000
    cancel_ms: int = FIRST_PAUSE_MS


@dataclass(frozen=True, slots=True)
class Desk:
    """``webhook``: where the service calls us, and the secret that signs it; None: it is only asked."""

    service: Service
    book: Book
    outgoing: Outgoing
    rules: Rules
    bounds: Bounds
    now: Callable[[], int]
    webhook: tuple[str, str] | None = field(default=None, repr=False)
    patience: Patience = Patience()
    calls: Calls = field(default_factory=Calls)
    errands: Errands = field(default_factory=Errands)
    following: set[tuple[str, int]] = field(default_factory=set)
    looks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKS))

    def address(self, job_id: str, attempt: int, worker_id: str, left_ms: int) -> str | None:
        """Where the service is to call about this attempt. Whoever knows it can ring, and no more."""
        if self.webhook is None or not is_name(worker_id):
            return None
        origin, secret = self.webhook
        expires = (self.now() + left_ms) // 1000 + CALLS_AFTER_S
        return origin + signed_call(secret, Signed(job_id, attempt, worker_id), expires)

    def pause_s(self, quiet: int, retry_after_ms: int | None = None) -> float:
        """Until the next look."""
        patience = self.patience
        return pause_ms(quiet, retry_after_ms, patience.poll_ms, patience.poll_most_ms) / 1000
