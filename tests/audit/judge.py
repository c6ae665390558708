"""The judge: which record must have which effect, told from the topics and the core alone. No I/O.

The stream processors' own bookkeeping is not trusted. A record counts as processed when what only it can bring about is
there:

- ``openv.commands``: everything that the core alone, fed the log in offset order, announces about it: answer, job
  events, wake-ups, discarded files, account events. An announcement belongs to one record by its CloudEvents id, its
  time (the record's, to the millisecond) and, where the audit sent the command, a traceparent that no other record
  carries. The first announcement must be equal to the core's; a repeated one may say what came after.
- ``openv.dispatch`` and ``openv.events``: probes (``probes.py``), each with an effect of its own. The records between
  the probes are checked for their consequences only: no offset stuck, no job left in a queue while workers ask.

Every version of every job is compared with the core's wherever it is shown: in each announcement, and in MongoDB.
Not compared: ``updated_at`` of a job against the core (it is the writer's clock; but one version must say the same one
everywhere), and an account's copies of pending admissions.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from schemas.codec import Message, Record, Unreadable, decode
from schemas.commands import COMMANDS
from schemas.events import CommandAnswered, JobEvent
from schemas.instants import to_iso
from streams.core.effects import UserView
from streams.core.policy import Policy
from streams.perform import LEDGER, messages_of
from tests.audit.versions import Versions
from tests.streams.core_replay import CoreReplay

EARLY_KEPT = 20_000
Key = tuple[str, str, str]  # traceparent or none, CloudEvents time, CloudEvents id


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic} {self.partition}:{self.offset}"


def place_of(record: Record) -> Place:
    """The record's place."""
    return Place(record.topic, record.partition, record.offset)


@dataclass(slots=True)
class _Awaited:
    place: Place
    recorded_at: int
    expected: Message | None


@dataclass(slots=True)
class _Seen:
    message: Message | None
    at: int | None
    place: Place | None


class Judge:
    """Fed every record of the four topics, in any order between topics, in offset order within a partition."""

    def __init__(self, policy: Policy) -> None:
        self._core = CoreReplay(policy)
        self._awaited: defaultdict[Key, list[_Awaited]] = defaultdict(list)
        self._open: dict[Place, dict[Key, str]] = {}
        self._early: dict[Key, _Seen] = {}
        self._answers: Counter[str] = Counter()
        self.touched: set[str] = set()
        self.differences: list[str] = []
        self.versions = Versions(self.differences)
        self.waits: list[int] = []
        self.commands = 0
        self.traceless = 0

    @property
    def twice(self) -> int:
        """How many answers were given again: commands that were processed more than once."""
        return self._answers.total() - len(self._answers)

    @property
    def unfinished(self) -> int:
        """How many records have not had all their effects yet."""
        return len(self._open)

    @property
    def users(self) -> Mapping[str, UserView]:
        """Everyone who has said something, as the core has them."""
        return self._core.views

    def command(self, record: Record) -> None:
        """A record of ``openv.commands``: from now on, what the core makes of it is awaited."""
        command = decode(record)
        if isinstance(command, Unreadable) or not isinstance(command, COMMANDS):
            self.differences.append(f"{place_of(record)}: not a command")
            return
        self.commands += 1
        self.touched.add(command.user_id)
        said: list[Message] = []
        for decision in self._core.take(command, record.timestamp):
            self.versions.made(decision)
            said += messages_of(decision)
        self.traceless += not said
        trace, at = record.header("traceparent") or "", to_iso(record.timestamp)
        for message in said:
            self.await_effect(place_of(record), (trace, at, message.message_id), record.timestamp, message)

    def announcement(self, record: Record) -> None:
        """A record of ``openv.events`` or ``openv.dispatch``. What the ledger did not write is passed over."""
        if record.header("ce_source") != LEDGER:
            return
        message = decode(record)
        if isinstance(message, Unreadable):
            self.differences.append(f"{place_of(record)}: {message.reason}")
            return
        if isinstance(message, JobEvent):
            self.versions.shown(message.job, str(place_of(record)))
        if isinstance(message, CommandAnswered):
            self._answers[record.header("traceparent") or message.message_id] += 1
        key = (record.header("traceparent") or "", record.header("ce_time") or "", message.message_id)
        self.effect(key, message, record.timestamp, place_of(record))

    def await_effect(self, place: Place, key: Key, recorded_at: int, expected: Message | None = None) -> None:
        """The record at this place must have this effect."""
        if key in self._open.get(place, {}):
            return  # a user's deletion tells of each job twice
        awaited = _Awaited(place, recorded_at, expected)
        if key in self._early:
            self._satisfy(awaited, self._early[key])
            return
        self._awaited[key].append(awaited)
        self._open.setdefault(place, {})[key] = type(expected).__name__ if expected is not None else key[2]

    def effect(self, key: Key, message: Message | None, at: int | None, seen_at: Place | None = None) -> None:
        """An effect was seen; ``at``: when it was brought about (ms), if that is known."""
        waiting, seen = self._awaited.pop(key, None), _Seen(message, at, seen_at)
        if waiting is None:
            self._early.setdefault(key, seen)
            while len(self._early) > EARLY_KEPT:
                del self._early[next(iter(self._early))]
            return
        for awaited in waiting:
            del self._open[awaited.place][key]
            if not self._open[awaited.place]:
                del self._open[awaited.place]
            self._satisfy(awaited, seen)

    def missing(self, ends: Mapping[str, Mapping[int, int]]) -> dict[Place, str]:
        """Records before these ends (by topic and partition) without their effects, and which those are."""
        return {
            place: ", ".join(sorted(set(effects.values())))
            for place, effects in sorted(self._open.items())
            if place.offset < ends.get(place.topic, {}).get(place.partition, 0)
        }

    def _satisfy(self, awaited: _Awaited, seen: _Seen) -> None:
        if seen.at is not None:
            self.waits.append(max(0, seen.at - awaited.recorded_at))
        if awaited.expected is not None and timeless(seen.message) != timeless(awaited.expected):
            told = f"{seen.place} says {seen.message}"
            self.differences.append(f"{awaited.place}: {told}, the core alone {awaited.expected}")


def timeless(message: Message | None) -> Message | None:
    """A message but for when its document was written."""
    return JobEvent(replace(message.job, updated_at=0)) if isinstance(message, JobEvent) else message
