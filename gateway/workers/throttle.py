"""Progress updates of handlers, passed on to ``openv.progress``: the newest only, a few times a second for each job."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.handouts import HandOut
from gateway.live.wheel import Wheel
from gateway.workers.outbox import Outbox
from schemas.progress import WorkerUpdate

EVERY_S = 0.25
JOBS_MAX = 10_000


@dataclass(slots=True, eq=False)
class _Newest:
    """``text``: what has not been said yet. ``slot`` is the wheel's."""

    handed: HandOut
    turn: Callable[["_Newest", float], float | None]
    text: str | None = None
    slot: int | None = None

    def tick(self, now: float) -> float | None:
        """See ``Timed.tick``."""
        return self.turn(self, now)


class Throttle:
    """One a process."""

    def __init__(self, outbox: Outbox, wheel: Wheel, now: Callable[[], int]) -> None:
        self._outbox = outbox
        self._wheel = wheel
        self._now = now
        self._newest: dict[str, _Newest] = {}

    def put(self, handed: HandOut, text: str) -> None:
        """Say it now, or as soon as this job may say something again, if nothing newer has come by then.

        Dropped where too many jobs say something at once.
        """
        known = self._newest.get(handed.job_id)
        if known is not None:
            known.handed, known.text = handed, text
            return
        if len(self._newest) >= JOBS_MAX:
            return  # none of so many can be said often enough to be missed
        self._say(handed, text)
        kept = self._newest[handed.job_id] = _Newest(handed, self._turn)
        self._wheel.set(kept, asyncio.get_running_loop().time() + EVERY_S)

    def drop(self, job_id: str) -> None:
        """The job has ended: nothing more is said of it."""
        if (known := self._newest.get(job_id)) is not None:
            known.text = None

    def _turn(self, kept: _Newest, now: float) -> float | None:
        if kept.text is None or kept.handed.settled:
            self._newest.pop(kept.handed.job_id, None)
            return None
        self._say(kept.handed, kept.text)
        kept.text = None
        return now + EVERY_S

    def _say(self, handed: HandOut, text: str) -> None:
        self._outbox.say(
            WorkerUpdate(
                user_id=handed.user_id,
                job_id=handed.job_id,
                sequence=self._now(),
                attempt=handed.attempt,
                worker_id=handed.worker_id,
                value=text,
            )
        )
