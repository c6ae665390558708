"""Dead letters: which are meant, how each stands, why one can't be redriven, and what they come to together."""

import fnmatch
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import orjson

from operations.core.replay_names import TARGETS
from operations.core.replay_types import NO_TYPE, is_of_type
from schemas.codec import Record, Unreadable, decode
from schemas.dispatch import AssignmentDeclined, DrainWorker, Tick, WorkerBeat, WorkerGone
from schemas.dispositions import Disposition, Fate
from schemas.instants import to_iso
from schemas.letters import Letter
from schemas.replay_plans import ReplayPlan, ReplayState
from schemas.replays import MOST_REPLAYS, replayed

HOUR_MS = 3_600_000
RATE = 20.0  # letters a second that are redriven, unless an operator says otherwise: live traffic hardly feels it
GROUPS_MAX = 1_000  # different words of one kind that are counted; whatever comes after them is one more
OTHERS = "(others)"
NO_REASON, UNKNOWN, NOBODY = "(no reason)", "(unknown)", "(nobody)"


class Standing(StrEnum):
    """``REDRIVING``: a replay has it, and has not come to it yet. ``QUARANTINED``: it had been replayed too often, so
    its replay put it into the quarantine, where nothing processes it."""

    OPEN = "open"
    REDRIVING = "redriving"
    REDRIVEN = "redriven"
    QUARANTINED = "quarantined"
    EDITED = "edited"
    DISCARDED = "discarded"


class By(StrEnum):
    """By what letters are counted."""

    REASON = "reason"
    TOPIC = "topic"
    TYPE = "type"
    USER = "user"
    STATE = "state"
    HOUR = "hour"


@dataclass(frozen=True, slots=True)
class Seen:
    """A letter as it lies there, what its headers say, and what became of it."""

    record: Record
    letter: Letter
    standing: Standing
    disposition: Disposition | None = None

    @property
    def place(self) -> str:
        """``partition:offset``: its id."""
        return f"{self.record.partition}:{self.record.offset}"

    @property
    def reason(self) -> str:
        """Why it was set aside; never quotes it where we wrote it."""
        return self.letter.reason or self.letter.message or NO_REASON

    @property
    def type(self) -> str:
        """The CloudEvents type, or what stands for it."""
        return self.record.header("ce_type") or NO_TYPE


@dataclass(frozen=True, slots=True)
class Sought:
    """Which letters. Reasons and types as file names are matched, parts suffice; times in ms, ``until`` excluded.
    The words by which lists count what is missing, as ``(no type)``, mean those without."""

    reasons: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    standings: frozenset[Standing] = frozenset({Standing.OPEN})

    def meets(self, record: Record, letter: Letter) -> bool:
        """Whether it is meant, whatever became of it."""
        if not (self.since or 0) <= record.timestamp < (self.until or 2**63):
            return False
        if self.topics and (letter.topic or UNKNOWN) not in self.topics:
            return False
        if self.reasons and not _any(self.reasons, letter.reason or letter.message or ""):
            return False
        if self.types and not is_of_type(self.types, record.header("ce_type")):
            return False
        return not self.users or (user_of(record) or NOBODY) in self.users


@dataclass(slots=True)
class Counts:
    """What was looked through, by standing, and those that are meant by something."""

    letters: int = 0
    standings: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)

    def add(self, seen: Seen, by: By) -> None:
        """One that is meant."""
        self.letters += 1
        self.standings[seen.standing.value] += 1
        name = group_of(seen, by)
        if name not in self.groups and len(self.groups) >= GROUPS_MAX:
            name = OTHERS
        self.groups[name] += 1


def parsed_place(text: str) -> tuple[int, int]:
    """A letter's id. Raises ValueError with words for a person."""
    found = re.fullmatch(r"(\d{1,6}):(\d{1,18})", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(f"{text!r} is no dead letter's id: say partition:offset, as `openv deadletters list` does.")
    return int(found[1]), int(found[2])


def user_of(record: Record) -> str | None:
    """Whose letter it is: named by its value, or else by its key (commands and events have the user there)."""
    try:
        value = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, Mapping) and isinstance(user := value.get("userId"), str):
        return user
    return record.key.decode("utf-8", "replace") or None


def group_of(seen: Seen, by: By) -> str:
    """The words under which it is counted."""
    match by:
        case By.REASON:
            return seen.reason
        case By.TOPIC:
            return seen.letter.topic or UNKNOWN
        case By.TYPE:
            return seen.type
        case By.USER:
            return user_of(seen.record) or NOBODY
        case By.STATE:
            return seen.standing.value
        case By.HOUR:
            return to_iso(max(0, seen.record.timestamp) // HOUR_MS * HOUR_MS)


def standing_of(record: Record, disposition: Disposition | None, plan: ReplayPlan | None) -> Standing:
    """How a letter stands. ``plan``: of the replay that it belongs to; one that is forgotten was carried out.

    What a replay's checkpoint lies behind is written. Where one ended for good before it came to a letter, that is open
    again: at worst it is redriven twice, which changes nothing.
    """
    if disposition is None or disposition.letter_at != record.timestamp:
        return Standing.OPEN
    if disposition.fate is not Fate.REDRIVEN:
        return Standing.DISCARDED if disposition.fate is Fate.DISCARDED else Standing.EDITED
    if plan is not None and plan.state is not ReplayState.DONE:
        read = {one.partition: one.offset for one in plan.checkpoint.read} if plan.checkpoint else {}
        if read.get(record.partition, 0) <= record.offset:
            ended = plan.state in (ReplayState.CANCELLED, ReplayState.FAILED)
            return Standing.OPEN if ended else Standing.REDRIVING
    most = (plan.max_replays if plan is not None else 0) or MOST_REPLAYS
    return Standing.QUARANTINED if times_replayed(record) >= most else Standing.REDRIVEN


# The scheduler passes over all of ``openv.dispatch`` that was written again, but for what moves a job.
_WORN_OUT: Mapping[str, str] = MappingProxyType(
    {
        WorkerBeat.TYPE: "a worker's beat of then: its next one says how it is now",
        Tick.TYPE: "a tick of then: the next one does the same",
        WorkerGone.TYPE: "it tells of a worker of then: the scheduler sees who is here now",
        AssignmentDeclined.TYPE: "it answers an order of then: its lease is over",
        DrainWorker.TYPE: "it was meant for a worker of then: `openv workers drain` says it again",
    }
)


def why_not(seen: Seen) -> str | None:
    """Why a letter can't be redriven as it is; None where it can."""
    letter = seen.letter
    if letter.topic is None:
        return "no header says which topic it came from"
    if letter.topic not in TARGETS:
        return f"it came from {letter.topic}, and nothing is written there again"
    if letter.cut_from is not None:
        return "it was too large to be kept whole: only its beginning is there"
    if (words := _WORN_OUT.get(seen.type)) is not None:
        return words
    read = decode(as_it_was(seen))
    return f"it can't be read by this version either ({read.reason})" if isinstance(read, Unreadable) else None


def as_it_was(seen: Seen) -> Record:
    """The record that could not be processed, in its own topic."""
    record = seen.record
    return Record(
        seen.letter.topic or "", seen.letter.partition or 0, seen.letter.offset or 0, record.timestamp, record.key,
        record.value, record.headers,
    )  # fmt: skip


def times_replayed(record: Record) -> int:
    """How often it had been replayed before it failed (again)."""
    before = replayed(record.headers)
    return before.count if before else 0


def _any(patterns: tuple[str, ...], text: str) -> bool:
    lower = text.lower()
    if not text and NO_REASON in patterns:
        return True
    return any(
        fnmatch.fnmatchcase(lower, one.lower()) if set(one) & set("*?[") else one.lower() in lower for one in patterns
    )
