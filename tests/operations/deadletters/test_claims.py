"""Which letters a redrive claims, and what becomes of its claims when it can't begin."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operations.audit.recording import Actor
from operations.core.dead_letters import Seen, Sought, Standing
from operations.core.replay_scope import Asked
from operations.deadletters import redriving
from operations.deadletters.redriving import Choice, Redrive, redrive
from operations.replay.pace import Wishes
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.memory_letters import MemoryDispositionStore
from repo.memory_log import MemoryEventLog
from repo.memory_replays import MemoryReplayStore
from schemas.codec import Record, encode
from schemas.dispatch import AssignmentDeclined, DrainWorker, WorkerGone
from schemas.dispositions import Disposition, Fate
from schemas.letters import letter_of
from schemas.replay_plans import ReplayState
from schemas.topics import DEADLETTER, RECORD_MAX
from streams.deadletters import CannotProcess, dead_letter
from tests.operations.replay.made import a_plan
from tests.streams.submissions import submission

AT = 1_790_000_000_000
OPERATOR = Actor("op", "cli", "here")


def seen(message: Any = None, standing: Standing = Standing.OPEN, **changes: Any) -> Seen:
    made = encode(message or submission("ann", "pool"), source="/gateway", at=AT)
    put = dead_letter(
        Record(made.topic, 3, 77, AT, made.key, made.value, made.headers), "openv-ledger", CannotProcess("a bug")
    )
    record = replace(Record(DEADLETTER.name, 0, 9, AT + 5, put.key, put.value, put.headers), **changes)
    return Seen(record, letter_of(record.headers), standing)


def taken(one: Seen) -> Choice:
    choice = Choice()
    choice.take(one)
    return choice


def test_a_letter_that_a_replay_would_pass_over_is_left_out() -> None:
    whole = seen()
    assert len(taken(whole).chosen) == 1
    padding = b" " * (RECORD_MAX - 1_200 - len(whole.record.value))
    large = replace(whole, record=replace(whole.record, value=whole.record.value + padding))
    (reason,) = taken(large).refused
    assert "over the size" in reason
    nowhere = tuple(one for one in whole.record.headers if one[0] != "kafka_dlt-original-offset")
    choice = taken(seen(headers=nowhere))
    assert (choice.chosen, choice.refused.total()) == ([], 1)


def test_the_words_of_a_list_find_what_has_none() -> None:
    whole, bare = seen(), seen(headers=())
    for sought, finds_whole, finds_bare in (
        (Sought(types=("(no type)",)), False, True),
        (Sought(reasons=("(no reason)",)), False, True),
        (Sought(topics=("(unknown)",)), False, True),
        (Sought(types=("command.submit",)), True, False),
        (Sought(types=("type",)), False, False),
        (Sought(types=("*submit*",), reasons=("A B",)), True, False),
    ):
        met = [sought.meets(one.record, one.letter) for one in (whole, bare)]
        assert met == [finds_whole, finds_bare], sought


def test_a_letter_of_somebody_else_is_read_alike_by_all() -> None:
    ours = [one for one in seen().record.headers if not one[0].startswith("kafka_dlt-")]
    theirs = [("x-original-topic", b"openv.commands"), ("x-original-partition", b"3"), ("x-original-offset", b"77")]
    assert len(taken(seen(headers=(*ours, *theirs))).chosen) == 1


def test_one_that_another_replay_has_is_left_to_it() -> None:
    has = Disposition(letter="0:9", letter_at=AT + 5, fate=Fate.REDRIVEN, at=AT, actor="op", replay_id="r-other")
    (reason,) = taken(replace(seen(standing=Standing.REDRIVING), disposition=has)).refused
    assert reason.startswith("r-other has it")


@pytest.mark.parametrize(
    "message",
    [
        DrainWorker(command_id="d", pool="pool", worker_id="w"),
        WorkerGone(worker_id="w", session="s", pool="pool", sequence=1),
        AssignmentDeclined(worker_id="w", session="s", pool="pool", job_id="j", attempt=1, sequence=1),
    ],
)
def test_what_the_scheduler_passes_over_when_it_is_told_again_is_left_out(message: Any) -> None:
    (reason,) = taken(seen(message)).refused
    assert "of then" in reason


async def test_claims_of_a_redrive_that_can_not_begin_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    replays, dispositions = MemoryReplayStore(), MemoryDispositionStore()
    plan = a_plan((), Asked(DEADLETTER.name, "origin", chosen=((0, 9),)), state=ReplayState.PLANNED, checkpoint=None)
    await replays.store_replay(plan, 0)
    database = SimpleNamespace(replays=replays, dispositions=dispositions)
    room = cast("Room", SimpleNamespace(log=MemoryEventLog(), database=database))
    claimed: list[set[str]] = []
    began = False

    async def refused(*_: object, **__: object) -> None:
        claimed.append(set(await dispositions.dispositions(["0:9"])))
        if began:
            await replays.store_replay(replace(plan, version=2, state=ReplayState.PAUSED), 1)
        raise StackError("the topic is shorter than it was")

    monkeypatch.setattr(redriving, "execute", refused)
    wanted = Redrive(taken(seen()), plan)
    with pytest.raises(StackError, match="shorter"):
        await redrive(room, wanted, OPERATOR, Wishes(), lambda _: None)
    assert (claimed, await dispositions.dispositions(["0:9"])) == ([{"0:9"}], {})
    began = True
    with pytest.raises(StackError, match="shorter"):
        await redrive(room, wanted, OPERATOR, Wishes(), lambda _: None)
    assert set(await dispositions.dispositions(["0:9"])) == {"0:9"}, "it may have been written"
