"""The same words said again: which replay they mean, so that nothing is written twice for being asked for twice."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from operations.audit.recording import Actor
from operations.core.replay_scope import Asked
from operations.replay.bound import plan_of
from operations.replay.execute import execute
from operations.replay.pace import Wishes
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.memory_replays import MemoryReplayStore
from schemas.replay_plans import ReplayPlan, ReplayState
from schemas.topics import DEADLETTER
from tests.operations.replay.made import a_plan

ASKED = Asked("x.source", "x.target", keys=("ann",))
S = ReplayState


async def room_with(*states: ReplayState, written: bool = True) -> Room:
    """Replays of these words, the oldest first: r-1, r-2 …"""
    store = MemoryReplayStore()
    for number, state in enumerate(states, 1):
        plan = a_plan((), ASKED, replay_id=f"r-{number}", created_at=number, state=state)
        kept = plan.checkpoint if written and state is not S.PLANNED else None
        assert await store.store_replay(replace(plan, checkpoint=kept), 0)
    return cast("Room", SimpleNamespace(database=SimpleNamespace(replays=store)))


@pytest.mark.parametrize(
    ("states", "meant"),
    [
        ((S.PLANNED,), "r-1"),
        ((S.PLANNED, S.PLANNED), "r-2"),
        ((S.RUNNING,), "r-1"),
        ((S.PLANNED, S.RUNNING), "r-2"),
        ((S.PLANNED, S.CANARY), "r-2"),
        ((S.DONE, S.PAUSED), "r-2"),
        ((S.DONE, S.PLANNED), "r-2"),
        ((S.CANCELLED, S.PLANNED), "r-2"),
    ],
)
async def test_who_says_the_same_again_goes_on(states: tuple[ReplayState, ...], meant: str) -> None:
    assert await plan_of(await room_with(*states), ASKED) == meant


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((S.RUNNING, S.PLANNED), "r-1 is the same, and not over"),
        ((S.PAUSED, S.DONE), "r-1 is the same, and not over"),
        ((S.PLANNED, S.DONE), "r-2, which is done"),
        ((S.PLANNED, S.FAILED), "r-2, which is failed"),
        ((S.PLANNED, S.CANCELLED), "r-2, which is cancelled"),
    ],
)
async def test_an_older_dry_run_is_not_taken_for_what_was_written(states: tuple[ReplayState, ...], words: str) -> None:
    with pytest.raises(StackError, match=words):
        await plan_of(await room_with(*states), ASKED)


async def test_a_dry_run_that_was_cancelled_is_as_if_it_had_not_been() -> None:
    room = await room_with(S.PLANNED, S.CANCELLED, written=False)
    assert await plan_of(room, ASKED) == "r-1"
    with pytest.raises(StackError, match="no dry run"):
        await plan_of(await room_with(S.CANCELLED, written=False), ASKED)


async def test_dead_letters_chosen_one_by_one_are_written_by_who_notes_it() -> None:
    asked = Asked(DEADLETTER.name, "origin", chosen=((0, 1),))
    plan: ReplayPlan = a_plan((), asked, state=S.PLANNED, checkpoint=None, chosen=("0/1",))
    store = MemoryReplayStore()
    await store.store_replay(plan, 0)
    room = cast("Room", SimpleNamespace(database=SimpleNamespace(replays=store)))
    with pytest.raises(StackError, match="openv deadletters redrive"):
        await execute(room, plan.replay_id, None, Actor("op", "cli", "here"), Wishes())
