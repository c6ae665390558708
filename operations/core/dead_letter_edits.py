"""Another value for a dead letter: from words to JSON, back to a record that its readers take, and what differs.

The record keeps its CloudEvents id where the message does: nobody has decided it, so what carries that id for the first
time is the edited one. Whoever changes the id of a command makes another command of it.
"""

import difflib
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson

from operations.core.dead_letters import Seen, times_replayed
from operations.core.replay_names import TARGETS
from schemas.codec import Encoded, Message, Record, Unreadable, decode, type_of
from schemas.letters import CUT, PREFIX, REASON
from schemas.replays import OURS, Replayed, replayed
from schemas.topics import RECORD_MAX

_KEYS = ("userId", "pool", "workerId")  # members that are keys, of the topics that may be written to
_CLOUD_EVENTS = ("ce_specversion", "ce_id", "ce_type", "ce_subject")


class BadEdit(ValueError):
    """What was said makes no message; says what is wrong, without the value."""


def plain_json(value: bytes) -> str:
    """The value for an editor, indented. Raises ``BadEdit`` where it is no JSON."""
    try:
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode() + "\n"
    except orjson.JSONDecodeError:
        raise BadEdit("Its value is no JSON: give a whole one with --value-file.") from None


def with_members(value: bytes, said: Sequence[str]) -> bytes:
    """The value with members set: ``path=value``, the path dotted, the value JSON or else text; without ``=`` a member
    is removed. Raises ``BadEdit``."""
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise BadEdit("Its value is no JSON: give a whole one with --value-file.") from None
    for one in said:
        path, equals, text = one.partition("=")
        _set(data, path.split("."), one, equals, text)
    return orjson.dumps(data)


def compact(text: bytes) -> bytes:
    """JSON as it is written to a topic. Raises ``BadEdit``, which says where it breaks off."""
    try:
        return orjson.dumps(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise BadEdit(f"That is no JSON: line {error.lineno}, column {error.colno}.") from None


def rebuilt(seen: Seen, value: bytes, edit_id: str, *, kind: str | None = None) -> Encoded:
    """The record that is sent instead: its message can be read, and its key is the message's. Raises ``BadEdit``."""
    topic, letter = seen.letter.topic, seen.letter
    if topic is None or topic not in TARGETS:
        raise BadEdit(f"It came from {topic or 'nowhere that is known'}, and nothing is written there again.")
    if len(value) > RECORD_MAX:
        raise BadEdit("It is too large for a record.")
    kept = [(name, one) for name, one in seen.record.headers if _is_kept(name)]
    if kind is not None:
        kept = [(name, one) for name, one in kept if name != "ce_type"] + [("ce_type", kind.encode())]
    message, key = _read(topic, seen.record, value, tuple(kept))
    before = replayed(seen.record.headers)
    told = Replayed(
        edit_id,
        before.topic if before else topic,
        before.partition if before else letter.partition or 0,
        before.offset if before else letter.offset or 0,
        before.recorded_at if before else letter.timestamp or max(0, seen.record.timestamp),
        times_replayed(seen.record) + 1,
    )
    own = {
        "ce_specversion": b"1.0",
        "ce_id": message.message_id.encode(),
        "ce_type": type_of(message).encode(),
        "ce_subject": message.subject.encode(),
    }
    others = [(name, one) for name, one in kept if name not in _CLOUD_EVENTS]
    return Encoded(topic, key, value, (*own.items(), *others, *told.headers()))


def difference(before: bytes, after: bytes) -> str:
    """Line by line, as ``diff -u`` has it; of a value that is no JSON only its length."""
    try:
        old = plain_json(before)
    except BadEdit:
        old = f"({len(before):,} bytes that are no JSON)\n"
    lines = difflib.unified_diff(
        old.splitlines(), plain_json(after).splitlines(), "as it was", "as it is sent", lineterm="", n=2
    )
    return "\n".join(lines)


def digest(value: bytes) -> str:
    """By which a value is known again, and not told."""
    return blake2b(value, digest_size=16).hexdigest()


def _read(topic: str, record: Record, value: bytes, headers: tuple[tuple[str, bytes], ...]) -> tuple[Message, bytes]:
    """The message and its key: as it was, or as the value says now."""
    data = orjson.loads(value)
    keys = [record.key]
    if isinstance(data, dict):
        keys += [one.encode() for name in _KEYS if isinstance(one := data.get(name), str)]
    reason = ""
    for key in keys:
        read = decode(Record(topic, record.partition, record.offset, record.timestamp, key, value, headers))
        if not isinstance(read, Unreadable):
            return read, key
        reason = reason or read.reason
    raise BadEdit(f"It still can't be read: {reason}.")


def _set(data: Any, path: list[str], said: str, equals: str, text: str) -> None:
    at = data
    for name in path[:-1]:
        if isinstance(at, dict) and equals:
            at = at.setdefault(name, {})
        elif isinstance(at, dict) and name in at:
            at = at[name]
        else:
            raise BadEdit(f"--set {path[0]}: there is no such member to go into.")
    if not isinstance(at, dict) or not all(path):
        raise BadEdit(f"--set {said.partition('=')[0]!r}: say member=value, or member.member=value.")
    if equals:
        at[path[-1]] = _value(text)
    elif at.pop(path[-1], None) is None:
        raise BadEdit(f"--set {said}: there is no such member to remove.")


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _is_kept(name: str) -> bool:
    return name not in OURS and name not in (REASON, CUT) and not name.startswith(f"{PREFIX}exception")
