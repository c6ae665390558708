"""Which attempt of a job a worker had: from what this gateway has heard, else from the document."""

import asyncio
from collections.abc import Callable

from gateway.core.allowance import Allowance
from gateway.core.handouts import Claim, HandOut, HandOuts, claim_of
from gateway.core.recent import Recent
from repo.ports import JobStore
from schemas.ids import is_name

WAIT_S = 3.0  # for a report that the attempt started, which is in the log and not in the document yet
LOOK_S = 0.1
ASK_AGAIN_MS = 5_000
ASKED_MAX = 10_000
ASKS_MAX = 1_000  # of one endpoint in that time

Pod = tuple[str, str]


class Fencing:
    """One a process."""

    def __init__(self, handed: HandOuts, store: JobStore, now: Callable[[], int]) -> None:
        self._handed = handed
        self._store = store
        self._now = now
        self._asked: Recent[tuple[str, str, str], int] = Recent(ASKED_MAX)
        self._asks = Allowance(ASKS_MAX, ASK_AGAIN_MS)

    async def find(self, pod: Pod, job_id: str, wait_s: float = WAIT_S) -> HandOut | None:
        """The newest attempt that this worker had; None: it never had that job. Raises ``Unavailable``.

        A job that waits may be one whose start has not been decided yet: it is looked at again for ``wait_s``.
        """
        give_up = asyncio.get_running_loop().time() + wait_s
        while True:
            handed = self._handed.find(*pod, job_id)
            if handed is not None:
                return handed
            claim = claim_of(await self._store.job(job_id) if is_name(job_id) else None, *pod)
            handed = self._handed.find(*pod, job_id)
            if handed is not None:
                return handed  # heard of, or found by another request, meanwhile: all who ask share the one
            if isinstance(claim, HandOut):
                self._handed.note(*pod, claim)
                return claim
            if claim is not Claim.NOT_YET or asyncio.get_running_loop().time() >= give_up:
                return None
            await asyncio.sleep(LOOK_S)

    def known(self, pod: Pod, job_id: str) -> HandOut | None:
        """As ``find``, without a look into the store."""
        return self._handed.find(*pod, job_id)

    def may_ask(self, pod: Pod, job_id: str) -> bool:
        """Whether the store may be asked about a job that is pinged and not known: not every time, and for the workers
        of one endpoint so many times."""
        asked, now = self._asked.get((*pod, job_id)), self._now()
        if (asked is not None and now - asked < ASK_AGAIN_MS) or self._asks.take(pod[0], now):
            return False
        self._asked[*pod, job_id] = now
        return True
