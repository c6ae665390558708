"""What may be replayed into what: names of topics and files, and why some are refused."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from schemas.topics import ASSIGNMENTS, AUDIT, COMMANDS, DEADLETTER, DISPATCH, EVENTS, PROGRESS, QUARANTINE, TOPICS

FILE = "file:"
ORIGIN_TOPIC = "origin"  # of dead letters: each goes back to where it came from
TARGETS = (COMMANDS.name, EVENTS.name, DISPATCH.name)
_MIXED = (DEADLETTER.name, QUARANTINE.name)  # what lies there came from the targets
_KAFKAS = "__"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")  # as Kafka has it

_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        ASSIGNMENTS.name: "its orders are addressed to sessions of workers that may be gone: replay openv.dispatch, "
        "and the scheduler gives the orders that are due now",
        PROGRESS.name: "progress of long ago is no progress: there is nothing to bring back",
        AUDIT.name: "the audit is what happened, and is written by nobody else: replay it into a file to read it",
        QUARANTINE.name: "only records that were replayed too often go there",
        DEADLETTER.name: "only what can't be processed goes there: name the topic that is to process it",
    }
)


class NotAllowed(ValueError):
    """A source or a target that is refused; says what to do instead."""


def named(text: str) -> str:
    """The topic (or ``file:PATH``) that is meant: ours have short names, ``commands`` is ``openv.commands``."""
    text = text.strip()
    if not text or text == FILE:
        raise NotAllowed("Name a topic, or file:PATH.")
    if text.startswith(FILE):
        return text
    full = f"openv.{text}"
    return full if full in TOPICS else text


def is_file(name: str) -> bool:
    """Whether it is a file."""
    return name.startswith(FILE)


def check(source: str, target: str) -> None:
    """Raises ``NotAllowed`` for what must not be. Both are as ``named`` gives them."""
    if source == target:
        raise NotAllowed(
            f"{source} can't be replayed into itself: it would grow while it is read. Replay it into a file first, and "
            f"the file into {source}."
        )
    if target in _REFUSED:
        raise NotAllowed(f"Nothing is replayed into {target}: {_REFUSED[target]}.")
    if target.startswith(_KAFKAS):
        raise NotAllowed(f"Nothing is replayed into {target}: topics whose names begin with __ are Kafka's own.")
    if target == ORIGIN_TOPIC and source != DEADLETTER.name and not is_file(source):
        raise NotAllowed(f"Only dead letters go back to their origin; say into which topic {source} is to go.")
    if target in TARGETS and source in TOPICS and source not in _MIXED:
        raise NotAllowed(
            f"The records of {source} do not belong on {target}: its readers could read none of them. Into a topic of "
            f"ours go dead letters, the quarantine, files, and topics that are not ours."
        )


def is_ours(topic: str) -> bool:
    """Whether its row is in the table."""
    return topic in TOPICS


def why_no_name(topic: str) -> str | None:
    """Why an operator can't have a topic of this name made, as a sentence; None where they can."""
    full = f"openv.{topic}"
    if is_ours(topic):
        return f"{topic} is OpenV's own: `openv topics apply` makes it."
    if full in TOPICS:
        return f"{topic} is short for {full}, which is OpenV's own: name it otherwise."
    if topic == ORIGIN_TOPIC:
        return f"{topic} is what a replay calls the topics that dead letters came from: name it otherwise."
    if topic.startswith(_KAFKAS):
        return "Topics whose names begin with __ are Kafka's own: name it otherwise."
    if _NAME.fullmatch(topic) is None or topic in (".", ".."):
        return "A topic's name has 1 to 249 of the characters a-z, A-Z, 0-9, dot, hyphen and underscore."
    return None
