"""The keeper with a child that the test plays."""

import asyncio

from inference_worker.child_process import ChildDied
from inference_worker.core.inputs import ChildGone, Heard
from inference_worker.keeper import Keeper
from inference_worker.messages import Heartbeat
from tests.inference_worker.parent_world import PlayedChild, until


async def test_it_passes_on_what_is_said_and_says_how_it_ended() -> None:
    child, taken = PlayedChild(), list[Heard | ChildGone]()

    async def start() -> PlayedChild:
        return child

    keeper = Keeper(start, taken.append)
    child.say(Heartbeat(progress=1))
    child.die(-9)
    await keeper.keep(7)
    assert [type(one) for one in taken] == [Heard, Heard, ChildGone]
    assert {one.child for one in taken} == {7}
    assert taken[-1] == ChildGone(7, "The model's process was killed by SIGKILL.")
    assert child.closed


async def test_one_that_cannot_be_started_is_gone() -> None:
    taken: list[Heard | ChildGone] = []

    async def start() -> PlayedChild:
        raise OSError(12, "Cannot allocate memory")

    await Keeper(start, taken.append).keep(1)
    assert taken == [ChildGone(1, "The model's process could not be started: Cannot allocate memory.")]


async def test_one_that_is_killed_while_it_starts_does_not_live_on() -> None:
    child, go_on = PlayedChild(), asyncio.Event()

    async def start() -> PlayedChild:
        await go_on.wait()
        return child

    taken: list[Heard | ChildGone] = []
    keeper = Keeper(start, taken.append)
    keeping = asyncio.create_task(keeper.keep(1))
    await asyncio.sleep(0)
    keeper.kill(1)
    go_on.set()
    await asyncio.wait_for(keeping, 10)
    assert child.killed


async def test_orders_for_another_child_reach_nobody() -> None:
    child, taken = PlayedChild(), list[Heard | ChildGone]()

    async def start() -> PlayedChild:
        return child

    keeper = Keeper(start, taken.append)
    keeping = asyncio.create_task(keeper.keep(2))
    await until(lambda: taken, "its first word")
    keeper.stop(1, "j1", 1)
    keeper.kill(1)
    keeper.stop(2, "j2", 1)
    await until(lambda: child.stops, "what it was told")
    assert child.stops == [("j2", 1)]
    assert not child.killed
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert child.closed


async def test_a_child_that_died_hears_nothing_and_that_is_no_fault() -> None:
    child, taken = PlayedChild(), list[Heard | ChildGone]()

    async def start() -> PlayedChild:
        return child

    async def dead(job_id: str, attempt: int) -> None:
        raise ChildDied(-9)

    child.stop = dead  # type: ignore[method-assign]
    keeper = Keeper(start, taken.append)
    keeping = asyncio.create_task(keeper.keep(1))
    await until(lambda: taken, "its first word")
    keeper.stop(1, "j1", 1)
    await asyncio.sleep(0)
    child.die(-9)
    await asyncio.wait_for(keeping, 10)
    assert isinstance(taken[-1], ChildGone)
