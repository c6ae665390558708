"""Who watches what, and the newest progress of every unfinished job, so that a new watcher sees it at once.

Progress comes on another topic than events, so it may arrive after the event that ended its attempt: progress of a job
that ended is dropped, and so is that of an attempt older than the newest one seen. Everything is bounded; what gives
way first is what was touched longest ago.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.core.inputs import Progress
from schemas.lifecycle import ACTIVE, State

W = TypeVar("W")

ENDED_MAX = 10_000
ENCODINGS = 3  # a frame is held as it is, and perhaps as a message and as an event or a picture as well


@dataclass(slots=True)
class _Newest:
    user_id: str
    attempt: int
    frames: dict[str, Progress] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return ENCODINGS * sum(len(progress.frame) for progress in self.frames.values())


class Hub(Generic[W]):
    """One a process. ``max_bytes`` bounds the remembered progress."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._watchers: dict[str, dict[W, None]] = {}
        self._newest: OrderedDict[str, _Newest] = OrderedDict()
        self._jobs_of: dict[str, dict[str, None]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def watch(self, user_id: str, watcher: W) -> None:
        self._watchers.setdefault(user_id, {})[watcher] = None

    def unwatch(self, user_id: str, watcher: W) -> None:
        """No error if it never watched."""
        watching = self._watchers.get(user_id, {})
        watching.pop(watcher, None)
        if not watching:
            self._watchers.pop(user_id, None)

    def watchers(self, user_id: str) -> tuple[W, ...]:
        return tuple(self._watchers.get(user_id, ()))

    def everyone(self) -> Iterator[tuple[str, tuple[W, ...]]]:
        """All users with their watchers, as they are now."""
        return iter([(user_id, tuple(watching)) for user_id, watching in self._watchers.items()])

    def moved(self, job_id: str, state: State) -> None:
        """A job event arrived. Queued anew or ended: what was known of its progress is about the past."""
        if state not in ACTIVE:
            self._ended[job_id] = None
            if len(self._ended) > ENDED_MAX:
                self._ended.popitem(last=False)
        else:
            self._ended.pop(job_id, None)
        if state is not State.PROCESSING:
            self._forget(job_id)

    def progressed(self, user_id: str, attempt: int, progress: Progress) -> bool:
        """Whether to pass this on: it is of the newest attempt of a job that has not ended. Remembers it."""
        job_id = progress.job_id
        if job_id in self._ended:
            return False
        known = self._newest.get(job_id)
        if known is not None and known.attempt > attempt:
            return False
        if known is None or known.attempt < attempt:
            self._forget(job_id)
            known = self._newest[job_id] = _Newest(user_id, attempt)
            self._jobs_of.setdefault(user_id, {})[job_id] = None
        before = known.size
        known.frames[progress.kind] = progress
        self._bytes += known.size - before
        self._newest.move_to_end(job_id)
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._newest)))
        return True

    def newest(self, user_id: str) -> list[Progress]:
        """The newest progress of the user's unfinished jobs, as far as this gateway has seen any."""
        return [p for job_id in self._jobs_of.get(user_id, ()) for p in self._newest[job_id].frames.values()]

    def newest_of(self, job_id: str, kind: str) -> tuple[int, Progress] | None:
        """The newest progress of this kind of one job, and of which attempt it tells."""
        known = self._newest.get(job_id)
        found = known.frames.get(kind) if known is not None else None
        return (known.attempt, found) if known is not None and found is not None else None

    def _forget(self, job_id: str) -> None:
        known = self._newest.pop(job_id, None)
        if known is not None:
            self._bytes -= known.size
            del self._jobs_of[known.user_id][job_id]
            if not self._jobs_of[known.user_id]:
                del self._jobs_of[known.user_id]
