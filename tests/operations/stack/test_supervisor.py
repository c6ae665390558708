"""The supervisor over small programs."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from operations.stack.child import Command
from operations.stack.errors import StackError
from operations.stack.supervisor import Change, Part, PartState, Supervisor
from tests.operations.stack.programs import alive, part, until

DIES_TWICE = (
    "import os, sys, time; count = sys.argv[1] + '.count'\n"
    "deaths = int(open(count).read()) if os.path.exists(count) else 0\n"
    "open(count, 'w').write(str(deaths + 1))\n"
    "deaths < 2 and sys.exit('Error: not yet')\n"
    "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
)


@asynccontextmanager
async def supervised(folder: Path, *parts: Part) -> AsyncIterator[tuple[Supervisor, list[Change]]]:
    changes: list[Change] = []
    supervisor = Supervisor(parts, folder, changes.append)
    try:
        yield supervisor, changes
    finally:
        await supervisor.stop()


def _told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.part, change.state.value) for change in changes]


def _pid(supervisor: Supervisor, name: str) -> int:
    pid = supervisor.states[name].pid
    assert pid is not None
    return pid


def _ready_again(supervisor: Supervisor, name: str, before: int) -> Callable[[], bool]:
    return lambda: supervisor.states[name].state is PartState.READY and supervisor.states[name].pid != before


async def test_parts_start_after_what_they_need_and_stop_in_reverse(tmp_path: Path) -> None:
    async with supervised(tmp_path, part("top", tmp_path, after=("base",)), part("base", tmp_path)) as (stack, changes):
        await stack.start()
        pids = [_pid(stack, "top"), _pid(stack, "base")]
        assert changes[0] == Change("top", PartState.WAITING, "base")
        started = _told(changes)
        assert started.index(("base", "ready")) < started.index(("top", "starting"))
        del changes[:]
    assert _told(changes) == [("top", "stopped"), ("base", "stopped")]
    assert not any(alive(pid) for pid in pids)


async def test_a_part_that_is_killed_starts_again_and_says_so(tmp_path: Path) -> None:
    async with supervised(tmp_path, part("base", tmp_path)) as (stack, changes):
        await stack.start()
        before = _pid(stack, "base")
        os.kill(before, signal.SIGKILL)
        await until(_ready_again(stack, "base", before))
    assert Change("base", PartState.DIED, "was ended by signal 9", again_in_ms=500) in changes


async def test_a_part_that_ended_in_order_complained_of_nothing(tmp_path: Path) -> None:
    """As a worker that was drained: the last line of its log is no reason."""
    ends_once = DIES_TWICE.replace(
        "deaths < 2 and sys.exit('Error: not yet')", "deaths < 1 and sys.exit(print('Error: old'))"
    )
    async with supervised(tmp_path, part("base", tmp_path, ends_once, give_up_after=3)) as (stack, changes):
        await stack.start()
    assert [one.detail for one in changes if one.state is PartState.DIED] == ["ended with exit code 0"]


async def test_a_part_that_dies_at_first_is_tried_again_with_growing_delays(tmp_path: Path) -> None:
    async with supervised(tmp_path, part("base", tmp_path, DIES_TWICE, give_up_after=3)) as (stack, changes):
        await stack.start()
    deaths = [change for change in changes if change.state is PartState.DIED]
    assert [death.again_in_ms for death in deaths] == [500, 1000]
    assert deaths[0].detail == "ended with exit code 1 (Error: not yet)"


async def test_a_part_that_never_starts_ends_the_start(tmp_path: Path) -> None:
    async with supervised(tmp_path, part("base", tmp_path, DIES_TWICE, give_up_after=2)) as (stack, _):
        with pytest.raises(StackError, match=r"base can't be started: it ended with exit code 1 \(Error: not yet\)"):
            await stack.start()


async def test_what_a_command_refuses_ends_the_start(tmp_path: Path) -> None:
    async def refuse() -> Command:
        raise StackError("The disk is full.")

    async def never(_pid: int) -> bool:
        return False

    other = part("other", tmp_path)
    async with supervised(tmp_path, other, Part("base", refuse, never)) as (stack, _):
        with pytest.raises(StackError, match="The disk is full"):
            await stack.start()


async def test_a_part_that_does_not_become_ready_is_killed_and_started_again(tmp_path: Path) -> None:
    pids: list[int] = []

    async def ready_the_second_time(pid: int) -> bool:
        if pid not in pids:
            pids.append(pid)
        return len(pids) == 2

    steady = part("base", tmp_path)
    base = Part("base", steady.command, ready_the_second_time, ready_within_s=0.3)
    async with supervised(tmp_path, base) as (stack, changes):
        await stack.start()
        assert not alive(pids[0])
        assert alive(pids[1])
    died = next(change for change in changes if change.state is PartState.DIED)
    assert died.detail.startswith("was not ready after 0.3 s")


async def test_stopping_in_the_middle_of_a_start_leaves_nothing(tmp_path: Path) -> None:
    pids: list[int] = []

    async def never(pid: int) -> bool:
        pids.append(pid)
        return False

    steady = part("base", tmp_path)
    changes: list[Change] = []
    stack = Supervisor([Part("base", steady.command, never)], tmp_path, changes.append)
    start = asyncio.create_task(stack.start())
    await until(lambda: bool(pids))
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await stack.stop()
    await stack.stop()
    assert not alive(pids[0])


async def test_kill_ends_everything_at_once(tmp_path: Path) -> None:
    async with supervised(tmp_path, part("one", tmp_path), part("two", tmp_path)) as (stack, _):
        await stack.start()
        pids = [_pid(stack, "one"), _pid(stack, "two")]
        stack.kill()
        assert not any(alive(pid) for pid in pids)
