"""What records and files say can neither steer a terminal nor end a command with a traceback."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from rich.console import Console

from operations.audit.recording import Actor
from operations.core.replay_report import Effects, Tally
from operations.core.replay_scope import Asked
from operations.replay import commands, views
from operations.replay.execute import Ended, execute
from operations.replay.files import LinesReader, as_line, from_line, head
from operations.replay.pace import Wishes
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.memory_replays import MemoryReplayStore
from schemas.letters import REASON
from schemas.replay_plans import ReplayPlan, ReplayState
from tests.operations.replay.made import Made, a_plan

EVIL = "a\x1b]0;x\x07\x1b[2J\x9b31m\u202e[red]b"
LINE: dict[str, Any] = {
    "topic": "t", "partition": 0, "offset": 0, "timestamp": 1, "key": None, "headers": [], "value": "{}",
}  # fmt: skip


def odd_plan() -> ReplayPlan:
    tally = Tally()
    tally.effects = Effects()
    for one in (tally.effects.dead_letters, tally.effects.refusals, tally.effects.jobs, tally.skipped):
        one.add(EVIL)
    said = EVIL.encode()
    headers = [("ce_type", said), ("ce_id", said), (REASON, said)]
    for at in (-(10**18), -1, 2**63 - 1):
        tally.count(Made(key=said, timestamp=at, headers=headers), 0, EVIL)
    asked = Asked(EVIL, EVIL, keys=(EVIL,))
    report = orjson.dumps(tally.plain()).decode()
    return a_plan((), asked, report=report, reason=EVIL, state=ReplayState.PAUSED)


def test_no_record_steers_the_terminal() -> None:
    written = io.StringIO()
    console = Console(file=written, width=400, force_terminal=False)
    plan = odd_plan()
    views.show(plan, console)
    views.show_all([plan], console)
    text = written.getvalue()
    assert [one for one in text if not one.isprintable() and one != "\n"] == []
    assert text.count("[red]b") >= 12, "in the source, target, scope, reason, types, reasons, records and effects"


def shown_of(tally: Tally, **changes: Any) -> tuple[ReplayPlan, str]:
    out = io.StringIO()
    report = orjson.dumps(tally.plain()).decode()
    plan = a_plan((), Asked("s", "t"), report=report, in_scope=tally.in_scope, state=ReplayState.PLANNED, **changes)
    views.show(plan, Console(file=out, width=200))
    return plan, out.getvalue()


def test_what_matches_nothing_is_not_offered_and_says_what_there_is() -> None:
    tally = Tally()
    tally.read = 2
    for name in (b"a.v1", b"b.v1", b"a.v1"):
        tally.skip("another type", Made(headers=[("ce_type", name)]))
    tally.skip("outside --from and --to")
    plan, _ = shown_of(tally)
    assert views.next_step(plan) == (
        "Nothing matches, so there is nothing to write: 2 records read. Types that were seen: 2 a.v1, 1 b.v1."
    )
    assert "others" not in views.plain(plan)["found"], "programs read what they have read"
    tally.count(Made(), 0, "t")
    plan, _ = shown_of(tally)
    assert "writes this record; the dry run holds for a day" in views.next_step(plan)


async def test_nor_is_it_executed() -> None:
    store = MemoryReplayStore()
    await store.store_replay(a_plan((), Asked("s", "t"), state=ReplayState.PLANNED, checkpoint=None, lease=None), 0)
    room = cast("Room", SimpleNamespace(database=SimpleNamespace(replays=store)))
    with pytest.raises(StackError, match="found nothing that matches"):
        await execute(room, "r-test", None, Actor("op", "cli", "here"), Wishes())


def test_records_that_would_fail_are_told_first_and_by_why() -> None:
    tally = Tally()
    tally.effects = Effects(decided=34)
    tally.effects.dead_letters.add("no type", 30)
    tally.effects.dead_letters.add("no JSON", 4)
    _, text = shown_of(tally)
    assert text.index("34 of 34 would become dead letters:") < text.index("no type") < text.index("What would change")


def test_one_that_was_paused_says_how_to_go_on() -> None:
    plan = a_plan((), Asked("s", "t"), state=ReplayState.PAUSED, reason="stopped by an operator", in_scope=3)
    assert commands.told(Ended(plan, 1)) == (
        "Stopped by an operator: at least 0 of 3 written. 1 of them came back as a dead letter. "
        "`openv replay r-test --continue` goes on, `openv replays cancel r-test` ends it."
    )


def test_nor_does_what_is_said_at_the_end() -> None:
    assert commands.told(Ended(odd_plan(), 0)).isprintable()
    with pytest.raises(StackError) as refused, commands._in_words():
        raise commands.BadScope(EVIL)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partition": 2**31}, "its partition is not from 0 to 2147483647"),
        ({"partition": 10**18, "offset": -5, "timestamp": -(10**18)}, "its partition"),
        ({"partition": -1}, "its partition"),
        ({"offset": -5}, "its offset is not from 0"),
        ({"offset": 10**18}, "its offset"),
        ({"timestamp": -(10**18)}, "its timestamp is not from -1"),
        ({"timestamp": 2**63}, "its timestamp"),
        ({"topic": ""}, "its topic's name"),
        ({"topic": "t" * 250}, "its topic's name"),
        ({"topic": "a/1/2"}, "its topic's name"),
        ({"partition": True}, "no record"),
        ({"value": {"base64": "?"}}, "no record"),
        ({"headers": [["a"]]}, "no record"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "f"
    first = head("s")
    good = orjson.dumps(LINE) + b"\n"
    path.write_bytes(first + good * 3 + orjson.dumps({**LINE, **change}) + b"\n")
    for begins in (len(first), len(first) + 2 * len(good)):
        reader = LinesReader(path, begins, path.stat().st_size)
        try:
            with pytest.raises(StackError, match=f"line 5: no record.*{words if words != 'no record' else ''}"):
                reader.next(100)
        finally:
            reader.close()


def test_what_kafka_can_have_given_is_read_back() -> None:
    for partition, offset, at in ((0, 0, -1), (2**31 - 1, 10**18 - 1, 2**63 - 1)):
        record = Made(partition=partition, offset=offset, timestamp=at, headers=[])
        read = from_line(as_line(record), 7)
        assert (read.partition, read.offset, read.timestamp, read.place) == (partition, offset, at, 7)
