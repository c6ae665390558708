"""What is redriven or discarded is what its dry run found; else it is said what differs, and nothing is done."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operations.audit.recording import Actor
from operations.core.dead_letters import Seen, Sought, Standing
from operations.deadletters import discarding, planned, redriving
from operations.deadletters.discarding import Expected, discard
from operations.deadletters.planned import wanted
from operations.deadletters.redriving import Redrive
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.memory_letters import MemoryDispositionStore
from repo.memory_log import MemoryEventLog
from repo.memory_replays import MemoryReplayStore
from schemas.dispositions import Disposition, Fate
from schemas.replay_plans import ReplayFact, ReplayState, moved
from tests.operations.deadletters.test_claims import AT, seen
from tests.operations.replay.made import a_plan

OPERATOR = Actor("op", "cli", "here")
DRY_RUN_AT = AT + 1_000


def letter(offset: int, standing: Standing = Standing.OPEN, said: Disposition | None = None) -> Seen:
    one = seen(standing=standing)
    return replace(one, record=replace(one.record, offset=offset, timestamp=AT + offset), disposition=said)


def said(offset: int, at: int, replay_id: str = "r-other", fate: Fate = Fate.REDRIVEN) -> Disposition:
    return Disposition(letter=f"0:{offset}", letter_at=AT + offset, fate=fate, at=at, actor="op", replay_id=replay_id)


class Letters:
    """The topic: what lies there, and how it stands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *offsets: int) -> None:
        self.there = {offset: letter(offset) for offset in offsets}
        self.database = SimpleNamespace(replays=MemoryReplayStore(), dispositions=MemoryDispositionStore())
        self.room = cast("Room", SimpleNamespace(log=MemoryEventLog(), database=self.database))
        for module in (redriving, discarding):
            monkeypatch.setattr(module, "letters", self._letters)
            monkeypatch.setattr(module, "named", self._named)
        monkeypatch.setattr(planned, "those", self._those)
        monkeypatch.setattr(redriving, "dry_run", self._dry_run)

    async def _letters(self, _: Room, sought: Sought) -> AsyncIterator[list[Seen]]:
        yield [one for one in self.there.values() if one.standing in sought.standings]

    async def _named(self, _: Room, places: Sequence[str]) -> list[Seen]:
        return [self.there[int(one.partition(":")[2])] for one in places]

    async def _those(self, _: Room, places: Collection[tuple[int, int]]) -> list[Seen]:
        return [one for offset, one in self.there.items() if (0, offset) in places]

    async def _dry_run(self, _: Room, asked: Any, __: Any) -> Any:
        number = len(await self.database.replays.replays())
        chosen = tuple(f"{at}/{offset}" for at, offset in asked.asked.chosen)
        made = a_plan(
            (), asked.asked, replay_id=f"r-{number}", created_at=DRY_RUN_AT + number, state=ReplayState.PLANNED,
            chosen=chosen, checkpoint=None, lease=None,
        )  # fmt: skip
        await self.database.replays.store_replay(made, 0)
        return made

    async def dry(self) -> str:
        found = await redriving.plan(self.room, await redriving.choose(self.room, (), Sought()), lambda _: None)
        assert found.plan is not None
        return found.plan.replay_id

    async def executes(self, *places: str) -> Redrive:
        return await wanted(self.room, places, Sought(), lambda _: None)

    async def moves(self, replay_id: str, fact: ReplayFact) -> None:
        plan = await self.database.replays.replay(replay_id)
        state = moved(plan.state, fact)
        await self.database.replays.store_replay(replace(plan, version=plan.version + 1, state=state), plan.version)


def places(of: Redrive) -> list[str]:
    return [one.place for one in of.choice.chosen]


async def test_the_same_words_write_what_the_dry_run_found_as_long_as_they_mean_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = Letters(monkeypatch, 1, 2, 3)
    with pytest.raises(StackError, match="no dry run"):
        await topic.executes()
    replay_id = await topic.dry()
    found = await topic.executes()
    assert found.plan is not None
    assert (found.plan.replay_id, places(found)) == (replay_id, ["0:1", "0:2", "0:3"])
    topic.there[4] = letter(4)
    topic.there[5] = letter(5)
    topic.there[1] = letter(1, Standing.DISCARDED, said(1, DRY_RUN_AT + 5, fate=Fate.DISCARDED))
    with pytest.raises(StackError, match=rf"2 are new since, 1 is gone.*redrive {replay_id} --execute"):
        await topic.executes()
    assert (await topic.executes("0:4")).plan is not None, "who names letters has looked at them"


async def test_a_dry_run_named_by_its_id_writes_just_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Letters(monkeypatch, 1, 2)
    replay_id = await topic.dry()
    topic.there[3] = letter(3)
    found = await topic.executes(replay_id)
    assert found.plan is not None
    assert (found.plan.replay_id, places(found)) == (replay_id, ["0:1", "0:2"])
    del topic.there[1]
    with pytest.raises(StackError, match=r"1 letter of .* is not kept any more"):
        await topic.executes(replay_id)
    with pytest.raises(StackError, match="no replay r-none"):
        await topic.executes("r-none")


@pytest.mark.parametrize(
    ("standing", "known", "is_refused"),
    [
        (Standing.DISCARDED, said(1, DRY_RUN_AT + 5, fate=Fate.DISCARDED), True),
        (Standing.REDRIVEN, said(1, DRY_RUN_AT + 5), True),
        (Standing.REDRIVING, said(1, DRY_RUN_AT - 5), True),
        (Standing.REDRIVEN, said(1, DRY_RUN_AT - 5), False),  # it was named, and goes again
        (Standing.REDRIVING, said(1, DRY_RUN_AT + 5, "r-0"), False),  # this redrive was killed before it began
        (Standing.OPEN, said(1, DRY_RUN_AT + 5), False),  # of a replay that was cancelled
    ],
)
async def test_nothing_is_written_where_something_became_of_a_letter_since(
    monkeypatch: pytest.MonkeyPatch, standing: Standing, known: Disposition, is_refused: bool
) -> None:
    topic = Letters(monkeypatch, 1, 2)
    replay_id = await topic.dry()
    topic.there[1] = letter(1, standing, known)
    if is_refused:
        with pytest.raises(StackError, match=rf"1 was redriven.*0:1 is {standing}"):
            await topic.executes(replay_id)
    else:
        assert places(await topic.executes(replay_id)) == ["0:1", "0:2"]


async def test_a_dry_run_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Letters(monkeypatch, 1)
    replay_id = await topic.dry()
    await topic.moves(replay_id, ReplayFact.STARTED)
    with pytest.raises(StackError, match="--continue"):
        await topic.executes(replay_id)
    with pytest.raises(StackError, match="no dry run"):
        await topic.executes()
    await topic.moves(replay_id, ReplayFact.FINISHED)
    with pytest.raises(StackError, match="is done"):
        await topic.executes(replay_id)


async def test_what_is_sought_is_discarded_as_the_dry_run_found_it(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Letters(monkeypatch, 1, 2)

    async def said_of(expected: Expected | None, *, execute: bool = True) -> Any:
        return await discard(topic.room, (), Sought(), OPERATOR, "why", execute=execute, at=9, expected=expected)

    with pytest.raises(StackError, match="without --execute first"):
        await said_of(None)
    found = await said_of(None, execute=False)
    assert found.letters == 2
    assert found.expected is not None
    assert (found.expected.at, Expected.parsed(str(found.expected))) == (9, found.expected)
    for there, words in (((1, 2, 3), "3 now"), ((1,), "1 now"), ((1, 3), "as many now, but others")):
        topic.there = {offset: letter(offset) for offset in there}
        with pytest.raises(StackError, match=f"found 2 letters, and it is {words}"):
            await said_of(found.expected)
    topic.there = {1: letter(1), 2: replace(letter(2), record=replace(letter(2).record, timestamp=AT))}
    with pytest.raises(StackError, match="but others"):  # the topic was made anew
        await said_of(found.expected)
    assert await topic.database.dispositions.dispositions(["0:1", "0:2"]) == {}
    topic.there = {offset: letter(offset) for offset in (1, 2)}
    assert (await said_of(found.expected)).letters == 2
    late = await discard(topic.room, ("0:1",), Sought(), OPERATOR, "another reason", execute=True)
    assert (late.letters, late.taken) == (0, 1), "it was seen as open, and somebody was quicker"
    assert set(await topic.database.dispositions.dispositions(["0:1", "0:2"])) == {"0:1", "0:2"}


@pytest.mark.parametrize("text", ["", "2", "2-9", "2-9-xyz", "-1-9-0123456789abcdef"])
def test_what_no_dry_run_has_printed_is_said_to_be_that(text: str) -> None:
    with pytest.raises(ValueError, match="--expect"):
        Expected.parsed(text)
