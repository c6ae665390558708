"""When a command was first recorded. One that was written again, replayed or redriven, has a new time in its topic."""

from dataclasses import dataclass

from schemas.codec import Record
from schemas.instants import Instant
from schemas.letters import letter_of
from schemas.replays import replayed
from schemas.topics import COMMANDS, DEADLETTER


@dataclass(frozen=True, slots=True)
class Recorded:
    """``at``: the topic's time of the record where it first lay, in ms. ``set_aside``: it went to the dead letters, so
    that it comes to be decided only now."""

    at: Instant
    set_aside: bool = False


def first_recorded(record: Record) -> Recorded | None:
    """What the headers of a record of ``openv.commands`` say of its origin there; None where it is no repetition of
    one, or they make no sense: then the record's own time counts.

    A dead letter says where it came from whoever wrote it again, also a tool that knows nothing of our replays.
    """
    told, letter = replayed(record.headers), letter_of(record.headers)
    times = []
    if told is not None and told.topic == COMMANDS.name:
        times.append(told.recorded_at)
    if letter.topic == COMMANDS.name and letter.timestamp is not None:
        times.append(letter.timestamp)
    known = [at for at in times if at > 0]
    if not known:
        return None
    # A replay that failed is a letter too, but what it repeats may have been decided.
    first_failed = told is None or told.topic == DEADLETTER.name or told.origin == letter.origin
    return Recorded(min(record.timestamp, *known), letter.topic == COMMANDS.name and first_failed)
