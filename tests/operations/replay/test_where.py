"""Expressions on values: what operators need works, what could grow or nest without bound is refused before it runs."""

import asyncio
from typing import Any

import orjson
import pytest

from operations.core.replay_records import Rules, Written
from operations.core.replay_scope import Asked, BadScope, checks_of
from operations.core.replay_where import EXPRESSIONS_MAX, LENGTH_MAX
from operations.replay.rehearsal import Rehearsal
from operations.replay.sieve import Sieve
from operations.replay.sources import Chunk, Resolved
from repo.memory import MemoryDatabase
from schemas.codec import Record, encode
from schemas.commands import CancelJob
from schemas.topics import COMMANDS
from streams.core.policy import Policy
from tests.operations.replay.made import Made

VALUE = {
    "userId": "ann", "state": "failed", "attempt": 3, "none": None, "empty": [], "tags": ["a", "b"], "n": "7",
    "error": {"code": "oom", "message": "CUDA \x1b[31m"}, "runs": [{"s": 5, "ok": True}, {"s": 50, "ok": False}],
}  # fmt: skip


def holds(text: str, value: Any = VALUE) -> bool:
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    return all(test(None, data, []) is None for test in checks_of(Asked("s", "t", where=(text,))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state == 'failed' && attempt >= `3`", True),
        ("error.code != 'oom' || !tags", False),
        ("none == null", True),
        ("empty == `[]` && error != `{}`", True),
        ('contains(`["failed", "completed"]`, state)', True),
        ("contains(error.message, 'CUDA') && ends_with(state, 'ed')", True),
        ("runs[?s > `10` && !ok]", True),
        ("runs[?s > `99`]", False),
        ("runs[*].s | [0] == `5`", True),
        ("runs[-1].s == `50` && length(tags) == `2` && tags[0:1]", True),
        ("error.*", True),
        ("runs[].missing", False),
        ("contains(keys(@), 'runs') && type(tags) == 'array'", True),
        ("to_number(n) > `6` && contains(to_string(error), 'oom')", True),
        ("not_null(missing, state) == 'failed' && starts_with(state, 'f')", True),
        ("contains(state, `1`)", False),
        ("state < attempt", False),
        ("tags[::0]", False),
        ("tags[99999999999999999999]", False),
    ],
)
def test_what_operators_ask(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[@,@]|[]|" * 9 + "length(@)", "it builds a list"),
        ("[@,@]|[]|" * 25 + "length(@)", "nested too much"),
        ("{a: @, b: @}", "it builds an object"),
        ("runs[*].[s, s]", "it builds a list"),
        ("map(&@, runs)", "no function map"),
        ("sort_by(runs, &s)", "no function sort_by"),
        ("merge(@, @)", "no function merge"),
        ("join(',', tags)", "no function join"),
        ("to_array(@)", "no function to_array"),
        ("nothing(@)", "no function nothing"),
        ("`[1,1,1,1]`[?`[1,1,1,1]`[?`[1,1,1,1]`]]", "a list or an object"),
        ("runs[*].not_null(`[1,1]`)[*].not_null(`[1,1]`)", "a list or an object"),
        ("contains(`[[1]]`, n)", "a list or an object"),
        ("to_string(@) == to_string(n) || to_string(n)", "to_string is in it too often"),
        ("a" + "||a" * 19, "too many parts"),
        ("a" + "<a" * 100, "too many parts"),
        (".".join("a" * 61), "too many parts"),
        ("a" * (LENGTH_MAX + 1), "501 characters"),
        ("(" * 200 + "a" + ")" * 200, "nested too much"),
        ("!" * 400 + "a", "nested too much"),
        ("`" + "[" * 240 + "]" * 240 + "`", "nested too much"),
        ("a[" + "9" * 490 + "]" + "[*]" * 20, "characters"),
        ("(" * 500, "nested too much"),
        ("`[" * 2000, "characters"),
    ],
)
def test_what_could_grow_is_refused_before_any_record_is_read(text: str, words: str) -> None:
    with pytest.raises(BadScope, match="^--where .*" + words.replace("(", r"\(")):
        holds(text)


def test_there_are_only_so_many() -> None:
    checks_of(Asked("s", "t", where=("a",) * EXPRESSIONS_MAX))
    with pytest.raises(BadScope, match="21 times"):
        checks_of(Asked("s", "t", where=("a",) * (EXPRESSIONS_MAX + 1)))


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_value_of_any_depth_stops_nothing(depth: int) -> None:
    value = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert not holds("to_string(@) == 'x'", value)
    assert not holds("a != a", value)
    holds("contains(to_string(a), '[')", value)
    holds("a == a", value)


async def test_a_value_of_any_depth_does_not_end_a_rehearsal() -> None:
    database = MemoryDatabase()
    jobs, deliveries = database.jobs, database.deliveries
    one = Rehearsal(jobs, deliveries, Policy(), lambda: 1, origin=None, mail=False)  # type: ignore[arg-type]
    made = encode(CancelJob(command_id="c", user_id="ann", job_id="j"), source="/t", at=1)
    for depth in (900, 100_000):
        value = b'{"commandId":' + b"[" * depth + b"]" * depth + b"}"
        await one.take(Record(COMMANDS.name, 0, 0, 1, made.key, value, made.headers))
    assert one.effects.dead_letters.total == 2


@pytest.mark.parametrize("size", [10, 10_000])
async def test_others_go_on_while_expressions_are_evaluated(size: int) -> None:
    asked = Asked("s", "t", where=("a[?@ == `1`]",))
    sieve = Sieve(asked, Resolved((), None, None), Rules("r", "t", 5))
    records = [Made(offset=at, value=orjson.dumps({"a": [at] * size})) for at in range(20)]
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(another())
    judged = await sieve.judgements(Chunk(0, records, range(20), 20))
    beside.cancel()
    assert [isinstance(one, Written) for one in judged] == [at == 1 for at in range(20)]
    assert turns >= 20


def test_the_words_of_a_refusal_steer_no_terminal() -> None:
    with pytest.raises(BadScope) as refused:
        holds("a == \x1b[2J\x9b")
    assert str(refused.value).isprintable()
    record = Made(value=orjson.dumps(VALUE))
    assert checks_of(Asked("s", "t", where=("state",)))[0](record.key, record.value, record.headers) is None
