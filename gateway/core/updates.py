"""What is seen of serverless endpoints between two job events: the newest word of each job's worker, the workers of
each pool, and which jobs are tried again.

Everything is bounded: what gives way first is what was told longest ago. A reader compares an update's attempt with the
job's, so one that came late says nothing.
"""

from collections import Counter, OrderedDict

from gateway.core.recent import Recent
from gateway.core.window import Happened
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from schemas.progress import PoolShown, WorkerUpdate

OVERHEAD = 512  # bytes of bookkeeping counted per update, besides its value
JOBS_MAX = 100_000
POOLS_MAX = 10_000
POOL_GOOD_MS = 60_000  # a pool is shown every 10 s


class Updates:
    """One a process. ``max_bytes`` bounds the remembered updates."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._newest: OrderedDict[str, WorkerUpdate] = OrderedDict()
        self._pools: Recent[str, PoolShown] = Recent(POOLS_MAX)
        self._again: OrderedDict[str, str] = OrderedDict()  # job to endpoint
        self._again_of: Counter[str] = Counter()

    def moved(self, happened: Happened, state: State) -> None:
        """A job event arrived. Queued anew or ended: what its worker said is about the past."""
        job_id, is_active = happened.job_id, state in ACTIVE
        if state is not State.PROCESSING:
            self._forget(job_id)
        self._count(job_id, happened.endpoint if happened.again and is_active else None)

    def updated(self, update: WorkerUpdate) -> None:
        """A worker said how it is getting on."""
        known = self._newest.get(update.job_id)
        if known is not None and known.attempt > update.attempt:
            return
        self._forget(update.job_id)
        self._newest[update.job_id] = update
        self._bytes += _size(update)
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._newest)))

    def shown(self, pool: PoolShown) -> None:
        """The scheduler told of a pool's workers."""
        known = self._pools.get(pool.pool)
        if known is None or known.shown_at <= pool.shown_at:
            self._pools[pool.pool] = pool

    def of(self, job: Job) -> str | None:
        """The newest word of the worker that has this job, as JSON text."""
        known = self._newest.get(job.job_id)
        if known is None or (known.attempt, known.user_id) != (job.attempt, job.user_id):
            return None
        return known.value

    def pool(self, name: str, now: int) -> PoolShown | None:
        """The workers of a pool, if that was told lately."""
        known = self._pools.get(name)
        return known if known is not None and now - known.shown_at < POOL_GOOD_MS else None

    def tried_again(self, endpoint_id: str) -> int:
        """How many active jobs of an endpoint are in a later try or run."""
        return self._again_of[endpoint_id]

    def _count(self, job_id: str, endpoint_id: str | None) -> None:
        """``endpoint_id``: where the job is tried again, None where it is not (any more)."""
        known = self._again.pop(job_id, None)
        if known is not None:
            self._uncount(known)
        if endpoint_id is None:
            return
        self._again[job_id] = endpoint_id
        self._again_of[endpoint_id] += 1
        if len(self._again) > JOBS_MAX:
            self._uncount(self._again.popitem(last=False)[1])

    def _uncount(self, endpoint_id: str) -> None:
        self._again_of[endpoint_id] -= 1
        if not self._again_of[endpoint_id]:
            del self._again_of[endpoint_id]

    def _forget(self, job_id: str) -> None:
        known = self._newest.pop(job_id, None)
        if known is not None:
            self._bytes -= _size(known)


def _size(update: WorkerUpdate) -> int:
    return OVERHEAD + len(update.value.encode())
