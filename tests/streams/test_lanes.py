"""Lanes: one after the other within, side by side among, bounded, and loud when they break."""

import asyncio

import pytest

from streams.lanes import DEPTH, Lanes

Item = tuple[int, int]


class Work:
    """Work that goes on when a test lets it, and what it saw."""

    def __init__(self) -> None:
        self.begun: list[Item] = []
        self.go = asyncio.Event()

    async def __call__(self, item: Item) -> None:
        self.begun.append(item)
        await self.go.wait()


def never(error: Exception) -> None:
    pytest.fail(repr(error))


async def until_quiet() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_lane_is_in_order_and_lanes_are_side_by_side() -> None:
    work = Work()
    lanes: Lanes[Item] = Lanes(work, never)
    for item in ((0, 1), (0, 2), (1, 1), (0, 3)):
        await lanes.put(item[0], item)
    await until_quiet()
    assert work.begun == [(0, 1), (1, 1)]
    assert not lanes.is_idle(0)
    assert lanes.is_idle(7)

    work.go.set()
    await until_quiet()
    assert work.begun == [(0, 1), (1, 1), (0, 2), (0, 3)]
    assert lanes.is_idle(0)
    await lanes.close()


async def test_a_full_lane_makes_its_feeder_wait() -> None:
    work = Work()
    lanes: Lanes[Item] = Lanes(work, never)
    await lanes.put(0, (0, 0))
    await until_quiet()
    for number in range(DEPTH):
        await lanes.put(0, (0, number + 1))
    assert not lanes.is_idle(1)  # its items may stand behind one that waits for lane 0
    feeding = asyncio.create_task(lanes.put(0, (0, 99)))
    await until_quiet()
    assert not feeding.done()
    assert not lanes.is_idle(1)
    work.go.set()
    await feeding
    await until_quiet()
    assert lanes.is_idle(1)
    await lanes.close()


async def test_a_failure_is_told_and_nothing_more_of_that_lane_is_begun() -> None:
    failures: list[Exception] = []

    async def fail(item: Item) -> None:
        raise RuntimeError(item[1])

    lanes: Lanes[Item] = Lanes(fail, failures.append)
    await lanes.put(0, (0, 1))
    await lanes.put(0, (0, 2))
    await until_quiet()
    assert [error.args for error in failures] == [(1,)]
    await lanes.close()
