"""What waits to be written to one socket, bounded, with a policy for each kind.

- *Frames* (answers and job events) keep their order and are never dropped. When they don't fit, ``put`` says so and the
  subscription ends with a reconnectable code: the replay heals what was not sent.
- *Progress* is conflated: per job and kind only the newest waits. A job event of the same job supersedes it, so that
  nothing about an attempt is shown after the event that ended it.

Frames go before progress.
"""

from collections import deque


class Outbox:
    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._newest: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._frames) + len(self._newest)

    def put(self, frame: str, *, whole: bool = False) -> bool:
        """Queue a frame; False if it does not fit. ``whole``: of a replay, measured before; always fits."""
        size = len(frame)
        full = len(self._frames) >= self._max_frames or self._bytes + size > self._max_bytes
        if full and self._frames and not whole:
            return False
        self._frames.append(frame)
        self._bytes += size
        return True

    def conflate(self, job_id: str, kind: str, frame: str) -> None:
        """Replace what waits of this job and kind, or wait behind the others. The oldest job gives way when full."""
        self._newest[(job_id, kind)] = frame
        if len(self._newest) > self._max_frames:
            self.supersede(next(iter(self._newest))[0])

    def supersede(self, job_id: str) -> None:
        """Forget waiting progress of a job."""
        if self._newest:
            for key in [key for key in self._newest if key[0] == job_id]:
                del self._newest[key]

    def take(self) -> str | None:
        """The next frame to write, or None."""
        if self._frames:
            frame = self._frames.popleft()
            self._bytes -= len(frame)
            return frame
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        return None

    def clear(self) -> None:
        """Throw everything away: the socket ends and nothing of it can be read any more."""
        self._frames.clear()
        self._newest.clear()
        self._bytes = 0
