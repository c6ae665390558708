"""Writes a record of every message type that has none yet: every member set, the same each time."""

import sys
import typing
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import orjson

from schemas.accounts import Account
from schemas.codec import Encoded, Message, encode, type_of
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import TOPICS

HERE = Path(__file__).parent
AT = 1_773_144_000_123
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TEXTS = {
    "job_id": "3f0c4a52-8a8f-5d0e-9f6a-0d5b9c1e7a11",
    "user_id": "user_2abc",
    "worker_id": "gpu-1",
    "pool": "mochi-1",
    "prompt": "a corgi surfing at sunset",
    "remote_url": "https://files.example.org/video.mp4",
}


def example(hint: Any, name: str = "") -> Any:
    """A telling value of a type hint; ``name`` is the member's."""
    origin, arms = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return AT if name.endswith(("_at", "_start", "_end", "_by")) else example(arms[0], name)
    if origin in (UnionType, typing.Union):
        return example(next(arm for arm in arms if arm is not NoneType), name)
    if origin is Literal:
        return arms[0]
    if origin is tuple:
        return (example(arms[0], name),)
    if origin is Mapping:
        return {TEXTS["job_id"]: example(arms[1], name)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    plain = {str: TEXTS.get(name, f"some {name}"), int: 7, float: 1.5, bool: True}
    if hint in plain:
        return plain[hint]
    hints = typing.get_type_hints(hint, include_extras=True)
    return hint(**{field.name: example(hints[field.name], field.name) for field in fields(hint)})


def messages() -> list[Message]:
    """One message of every type."""
    made: list[Message] = []
    for message in (message for topic in TOPICS.values() for message in topic.messages):
        if message is JobEvent:
            made += [JobEvent(replace(example(Job), state=state)) for state in State]
        elif message is AccountEvent:
            account: Account = example(Account)
            made += [AccountEvent(account), AccountEvent(replace(account, deleted_at=None))]
        else:
            made.append(example(message))
    return made


def raw(record: Encoded) -> bytes:
    """The record as text a person can read; every byte of it is UTF-8."""
    headers = [[name, value.decode()] for name, value in record.headers]
    plain = {"topic": record.topic, "key": record.key.decode(), "headers": headers, "value": record.value.decode()}
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2) + b"\n"


def main() -> None:
    for message in messages():
        path = HERE / f"{type_of(message)}.json"
        if not path.exists():
            path.write_bytes(raw(encode(message, source="/openv/history", at=AT, traceparent=TRACE)))
            sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main()
