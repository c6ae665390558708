"""What waits to be written to one connection, bounded, with a policy for each kind.

- *Frames* (answers and job events) keep their order and are never dropped. When they don't fit, ``put`` says so and the
  subscription ends with a reconnectable code: the replay heals what was not sent.
- *Progress* is conflated: per job and kind only the newest waits. A job event of the same job supersedes it, so that
  nothing about an attempt is shown after the event that ended it.

Frames go before progress.
"""

from gateway.core.frame import Frame
from gateway.core.tally import Tally


class Outbox:
    """Almost always empty, so it is made of lists: an empty deque holds 700 bytes."""

    __slots__ = ("_frames", "_max_bytes", "_max_frames", "_newest", "_tally", "bytes")

    def __init__(self, max_frames: int, max_bytes: int, tally: Tally | None = None) -> None:
        self._tally = tally
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._newest: dict[tuple[str, str], Frame] = {}
        self.bytes = 0  # of the frames, progress not counted

    @property
    def is_crowded(self) -> bool:
        """Whether it is half full."""
        return 2 * len(self._frames) >= self._max_frames or 2 * self.bytes >= self._max_bytes

    def __len__(self) -> int:
        return len(self._frames) + len(self._newest)

    def put(self, frame: Frame, *, whole: bool = False) -> bool:
        """Queue a frame; False if it does not fit. ``whole``: of a replay, measured before; always fits."""
        frames = self._frames
        size = len(frame.text)
        if frames and not whole and (len(frames) >= self._max_frames or self.bytes + size > self._max_bytes):
            return False
        frames.append(frame)
        self.bytes += size
        return True

    def conflate(self, job_id: str, kind: str, frame: Frame) -> None:
        """Replace what waits of this job and kind, or wait behind the others. The oldest job gives way when full."""
        if self._tally is not None and (job_id, kind) in self._newest:
            self._tally.conflated += 1
        self._newest[(job_id, kind)] = frame
        if len(self._newest) > self._max_frames:
            self.supersede(next(iter(self._newest))[0])

    def supersede(self, job_id: str) -> None:
        """Forget waiting progress of a job."""
        if self._newest:
            for key in [key for key in self._newest if key[0] == job_id]:
                del self._newest[key]

    def take(self, max_bytes: int) -> list[Frame]:
        """The next frames to write, in one go: so many bytes, but at least one if any waits."""
        taken = self._take_frames(max_bytes)
        size = sum(map(len, taken))
        while self._newest and (not taken or size < max_bytes):
            taken.append(self._newest.pop(next(iter(self._newest))))
            size += len(taken[-1])
        return taken

    def _take_frames(self, max_bytes: int) -> list[Frame]:
        if self.bytes <= max_bytes:
            taken, self._frames = self._frames, []
            self.bytes = 0
            return taken
        count = size = 0
        while not count or size < max_bytes:
            size += len(self._frames[count].text)
            count += 1
        taken = self._frames[:count]
        del self._frames[:count]
        self.bytes -= size
        return taken

    def clear(self) -> None:
        """Throw everything away: the connection ends and nothing of it can be read any more."""
        self._frames.clear()
        self._newest.clear()
        self.bytes = 0
