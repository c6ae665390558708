"""What an SDK worker posts: a result, a progress update or a chunk, read from bytes that any handler may have made.

The SDK writes Python's JSON, which has NaN and Infinity: they are read as null, as JavaScript writes them. What nests
deeper than it could be written down again is refused, and what would take too long to read.
"""

import json
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.core.json_cost import is_too_costly

IN_PROGRESS = "IN_PROGRESS"
UPDATE_BYTES = 64 * 1024  # of a progress update
_UPDATE = (b'"status"', b'"IN_PROGRESS"')
HEAD = 64  # bytes in which the SDK has said that it is an update
_DIGITS = 18  # an integer of more is read as a float, as everywhere else


class BadWord(ValueError):
    """Not what a worker says; the words tell a person why."""


@dataclass(frozen=True, slots=True)
class Update:
    """How the job is getting on: any JSON, as text."""

    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended: the JSON text of an object with ``output``, ``error``, both, or (the handler returned an empty
    object) none. ``failed``: the handler says that it failed."""

    text: bytes
    failed: bool


def read_result(body: bytes) -> Update | Result:
    """What was posted to job-done. Raises ``BadWord``."""
    said = _object(body)
    if said.get("status") == IN_PROGRESS:
        return Update(_text(said.get("output")))
    word = {}
    if "output" in said:
        word["output"] = said["output"]
    if said.get("error"):
        word["error"] = said["error"]
    return Result(_dumped(word), "error" in word)


def looks_like_update(head: bytes) -> bool:
    """Whether a body that is too large to be read begins as a progress update does."""
    return all(word in head[:HEAD] for word in _UPDATE)


def read_chunk(body: bytes) -> str:
    """The chunk that was posted to job-stream, as ASCII text, so that it has as many bytes as characters.

    Raises ``BadWord``.
    """
    said = _object(body)
    if "output" not in said:
        raise BadWord("a chunk must be an object with an output")
    text = _text(said["output"])
    return text if text.isascii() else json.dumps(said["output"], separators=(",", ":"))


def _object(body: bytes) -> dict[str, Any]:
    if is_too_costly(body):
        raise BadWord("it holds too many lists, objects and values")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = _pythons(body)
    if not isinstance(said, dict):
        raise BadWord("it must be a JSON object")
    return said


def _pythons(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=lambda _: None, parse_int=_number)
    except (ValueError, RecursionError):
        raise BadWord("it is not JSON") from None


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _text(value: Any) -> str:
    return _dumped(value).decode()


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # nested too deep, or half of a character that JSON escapes can name
        raise BadWord("it nests too deep, or has text that is no Unicode") from None
