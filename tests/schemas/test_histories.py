"""What was once written to a topic stays readable, with all that it says."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.codec import TYPE_NAMES, Record, Unreadable, decode, encode, type_of

HISTORIES = sorted((Path(__file__).parents[1] / "histories").glob("*.json"))


def test_every_type_has_its_history() -> None:
    """``python -m tests.histories.record`` writes what is missing."""
    assert set(TYPE_NAMES) <= {path.stem for path in HISTORIES}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_it_is_read_and_nothing_it_says_is_lost(path: Path) -> None:
    raw = orjson.loads(path.read_bytes())
    headers = tuple((name, value.encode()) for name, value in raw["headers"])
    message = decode(Record(raw["topic"], 0, 0, 0, raw["key"].encode(), raw["value"].encode(), headers))
    assert not isinstance(message, Unreadable), message
    assert type_of(message) == path.stem
    again = encode(message, source="/openv/test", at=0)
    assert (again.topic, again.key) == (raw["topic"], raw["key"].encode())
    assert dict(again.headers)["ce_id"] == dict(headers)["ce_id"], "readers drop repeats by it"
    assert lost(orjson.loads(raw["value"]), orjson.loads(again.value)) == []


def lost(old: Any, new: Any, place: str = "") -> list[str]:
    """Members of the old value that the new one lacks or says differently; it may say more."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for name in old for line in lost(old[name], new.get(name), f"{place}.{name}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for n, (a, b) in enumerate(zip(old, new, strict=True)) for line in lost(a, b, f"{place}[{n}]")]
    return [] if old == new else [place]
