"""The last minutes of ``openv.events`` in memory, by user, with positions that any gateway can check.

Rules:
- A *cursor* is (partition, offset, check) of a record in the durable log; the check is a digest of the record's
  CloudEvents id, so a cursor of another log (a topic made anew, another deployment) is never mistaken for one of ours.
- Each partition is a *lane*: contiguous records from ``complete_from`` up to ``next``. The cursor just before the lane
  (``floor``) is remembered, so a client that saw everything up to there may still resume.
- A record that does not continue its lane starts the lane anew (``Arrival.GAP``): what lies between is unknown here,
  and whoever watches that partition must be told.
- The answer to "what came after this cursor" is all of the user's job events, or an explicit no. Never some of them.

Bounded by age and by bytes: the oldest record goes first, whosever it is.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

OVERHEAD = 256  # bytes of bookkeeping counted per record, besides its value
_TEXT = re.compile(r"^([0-9]{1,5}):([0-9]{1,18}):([0-9a-f]{8})$")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the log; ``str()`` gives the text that clients hold and give back."""

    partition: int
    offset: int
    check: str

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}:{self.check}"


def check_of(event_id: str) -> str:
    """The digest of a record's CloudEvents id, 8 hex digits."""
    return blake2b(event_id.encode(), digest_size=4).hexdigest()


def read_cursor(text: str) -> Cursor | None:
    """A cursor from its text, or None: not one of ours."""
    match = _TEXT.fullmatch(text)
    return Cursor(int(match[1]), int(match[2]), match[3]) if match else None


@dataclass(frozen=True, slots=True)
class Happened:
    """A job event as stored: ``value`` is the JSON of the job document, (job_id, version) tells repeats.

    ``external``: of a job that no video comes of; no socket is shown it. ``endpoint``: the serverless endpoint that was
    asked. ``again``: it is in a later try or run.
    """

    event_type: str
    job_id: str
    version: int
    value: bytes
    external: bool = False
    endpoint: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the topic. ``at``: its time in ms. ``event`` is None for what no socket is shown."""

    cursor: Cursor
    user_id: str
    at: int
    event: Happened | None

    @property
    def size(self) -> int:
        return OVERHEAD + (len(self.event.value) if self.event else 0)


class Arrival(StrEnum):
    NEW = "new"  # continues its lane
    KNOWN = "known"  # read before; nothing changed
    GAP = "gap"  # does not continue its lane, which was started anew


class Missing(StrEnum):
    """Why a replay can't be given."""

    GONE = "gone"  # older than what is kept
    UNKNOWN = "unknown"  # not a position of this user in this log
    AHEAD = "ahead"  # this gateway has not read that far yet: wait, then ask again


@dataclass(frozen=True, slots=True)
class Replay:
    """Every job event of the user after the cursor, in order, up to and including ``head``."""

    entries: tuple[Entry, ...]
    head: Cursor


@dataclass(slots=True)
class _Lane:
    next: int
    entries: deque[Entry] = field(default_factory=deque)
    floor: Cursor | None = None

    @property
    def head(self) -> Cursor | None:
        return self.entries[-1].cursor if self.entries else self.floor

    def at(self, offset: int) -> Cursor | None:
        """The cursor of an offset that is in the lane or just before it."""
        if self.floor is not None and offset == self.floor.offset:
            return self.floor
        index = offset - self.entries[0].cursor.offset if self.entries else -1
        return self.entries[index].cursor if 0 <= index < len(self.entries) else None


class Window:
    """Not thread-safe; one writer (the feed). ``now`` comes from the caller."""

    def __init__(self, max_bytes: int, max_age_ms: int) -> None:
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_ms
        self._lanes: dict[int, _Lane] = {}
        self._events: dict[tuple[int, str], deque[Entry]] = {}
        self._newest: dict[str, Entry] = {}
        self.bytes = 0

    def begin(self, starts: Mapping[int, int]) -> None:
        """Forget everything; each partition will be read from this offset on."""
        self._events.clear()
        self._newest.clear()
        self.bytes = 0
        self._lanes = {partition: _Lane(next=offset) for partition, offset in starts.items()}

    def next_offsets(self) -> dict[int, int]:
        """Up to where each partition has been read: the offset of the record to come."""
        return {partition: lane.next for partition, lane in self._lanes.items()}

    @property
    def oldest(self) -> int | None:
        """The time of the oldest record that is kept (ms)."""
        return min((lane.entries[0].at for lane in list(self._lanes.values()) if lane.entries), default=None)

    def head(self, partition: int) -> Cursor | None:
        """The last record read of a partition; None while it is known to be nothing."""
        lane = self._lanes.get(partition)
        return lane.head if lane else None

    def append(self, entry: Entry, now: int) -> Arrival:
        """Take a record in the order of its partition."""
        arrival = Arrival.NEW
        cursor = entry.cursor
        lane = self._lanes.setdefault(cursor.partition, _Lane(next=cursor.offset))
        if cursor.offset != lane.next:
            if cursor.offset < lane.next and lane.at(cursor.offset) == cursor:
                return Arrival.KNOWN
            self._clear(cursor.partition)
            lane = self._lanes[cursor.partition] = _Lane(next=cursor.offset)
            arrival = Arrival.GAP
        lane.entries.append(entry)
        lane.next = cursor.offset + 1
        self.bytes += entry.size
        if entry.event is not None:
            self._newest[entry.event.job_id] = entry
            if not entry.event.external:
                self._events.setdefault((cursor.partition, entry.user_id), deque()).append(entry)
        self.evict(now)
        return arrival

    def evict(self, now: int) -> None:
        """Let go of what is too old, then of the oldest until the bytes fit."""
        for lane in self._lanes.values():
            while lane.entries and lane.entries[0].at < now - self._max_age_ms:
                self._drop_first(lane)
        while self.bytes > self._max_bytes:
            self._drop_first(min((lane for lane in self._lanes.values() if lane.entries), key=_age))

    def after(self, user_id: str, partition: int, cursor: Cursor) -> Replay | Missing:
        """What happened to this user's videos after the cursor. ``partition`` is where the user's records go."""
        lane = self._lanes.get(partition)
        if lane is None or cursor.partition != partition:
            return Missing.UNKNOWN
        if cursor.offset >= lane.next:
            return Missing.AHEAD
        known = lane.at(cursor.offset)
        if known is None or lane.head is None:
            return Missing.GONE
        if known != cursor:
            return Missing.UNKNOWN
        later: deque[Entry] = deque()
        for entry in reversed(self._events.get((partition, user_id), ())):
            if entry.cursor.offset <= cursor.offset:
                break
            later.appendleft(entry)
        return Replay(tuple(later), lane.head)

    def newest(self, user_id: str, partition: int, job_id: str) -> Happened | None:
        """The last event of this user's job that was read and is still kept."""
        entry = self._newest.get(job_id)
        if entry is None or (entry.user_id, entry.cursor.partition) != (user_id, partition):
            return None
        return entry.event

    def _drop_first(self, lane: _Lane) -> None:
        entry = lane.entries.popleft()
        lane.floor = entry.cursor
        self.bytes -= entry.size
        if entry.event is None:
            return
        if self._newest.get(entry.event.job_id) is entry:
            del self._newest[entry.event.job_id]
        if not entry.event.external:
            key = (entry.cursor.partition, entry.user_id)
            self._events[key].popleft()
            if not self._events[key]:
                del self._events[key]

    def _clear(self, partition: int) -> None:
        for entry in self._lanes[partition].entries:
            self.bytes -= entry.size
        for key in [key for key in self._events if key[0] == partition]:
            del self._events[key]
        for job_id in [one for one, entry in self._newest.items() if entry.cursor.partition == partition]:
            del self._newest[job_id]


def _age(lane: _Lane) -> int:
    return lane.entries[0].at
