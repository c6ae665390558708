"""What the doctor says of dead letters leads on: to redrive where one can be sent, to the list where none can."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operations.core.dead_letters import Seen, Standing
from operations.core.findings import Level
from operations.doctor import deadletters_check
from operations.doctor.surroundings import Surroundings
from repo.memory_log import MemoryEventLog
from repo.memory_replays import MemoryReplayStore
from schemas.dispositions import Disposition, Fate
from tests.operations.deadletters.test_claims import AT, seen
from tests.operations.replay.made import Asked, a_plan


def around(monkeypatch: pytest.MonkeyPatch, letters: list[Seen], **plan: Any) -> Surroundings:
    replays = MemoryReplayStore()

    async def pages(_: object) -> Any:
        yield letters

    class Fates:
        def __init__(self, _: object) -> None: ...

        async def seen(self, page: list[Seen]) -> list[Seen]:
            if plan:
                await replays.store_replay(a_plan((), Asked("s", "t"), **plan), 0)
            return page

    monkeypatch.setattr(deadletters_check, "_letters", pages)
    monkeypatch.setattr(deadletters_check, "Fates", Fates)
    desk = SimpleNamespace(log=MemoryEventLog(), database=SimpleNamespace(replays=replays))
    return cast("Surroundings", SimpleNamespace(desk=desk, now=lambda: AT + 60_000))


async def test_where_none_can_be_sent_again_they_are_listed_before_any_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreadable = replace(seen(), record=replace(seen().record, value=b"\x00"))
    (told,) = await deadletters_check.check(around(monkeypatch, [unreadable]))
    assert (told.level, told.mend) == (Level.PROBLEM, "openv deadletters list")
    assert "`openv deadletters edit ID`" in told.why
    assert "`openv deadletters discard ID`" in told.why
    assert told.what.startswith("1 dead letter that nobody has dealt with")
    (told,) = await deadletters_check.check(around(monkeypatch, [unreadable, seen()]))
    assert (told.level, told.mend) == (Level.PROBLEM, "openv deadletters redrive --all")


@pytest.mark.parametrize(("lease", "mend"), [(None, "openv replay r-test --continue"), ("kept", "")])
async def test_letters_of_a_replay_that_is_not_over_are_named(
    monkeypatch: pytest.MonkeyPatch, lease: str | None, mend: str
) -> None:
    has = Disposition(letter="0:9", letter_at=AT + 5, fate=Fate.REDRIVEN, at=AT, actor="op", replay_id="r-test")
    one = replace(seen(standing=Standing.REDRIVING), disposition=has)
    (told,) = await deadletters_check.check(around(monkeypatch, [one], **({} if lease else {"lease": None}), version=1))
    assert (told.level, told.mend) == (Level.NOTE, mend)
    assert told.what.startswith("1 dead letter is in r-test, which ")
