"""Long works: done beside their request, by one process at a time, and gone on with when that process is no more."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from operations.admin import works as module
from operations.admin.refusals import Problem, Refused
from operations.admin.works import UNDER_WAY_MAX, Kind, Works
from operations.audit.recording import Actor
from operations.core.works import INTERRUPTED, LEASE_MS, TOO_OFTEN, TRIES_MAX
from operations.stack.errors import StackError
from repo.core.documents import DamagedDocumentError
from repo.memory_works import MemoryWorkStore
from repo.ports import Unavailable
from schemas.works import TRANSITIONS, Work, WorkFact, WorkState
from tests.gateway.world import eventually, until

ROOT = Actor("root/ov_abcdef", "api", "192.0.2.1")
NOW = 1_790_000_000_000


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.01)


@asynccontextmanager
async def a_process(
    store: MemoryWorkStore,
    run: Callable[[Mapping[str, Any], Actor], Awaitable[Any]],
    clock: Clock,
    *,
    resumable: bool = True,
) -> AsyncIterator[Works]:
    works = Works(store, {"kind": Kind(run, resumable)}, clock)
    async with works.running():
        yield works


async def ended(store: MemoryWorkStore, work: Work) -> Work:
    async def look() -> Work | None:
        stored = await store.work(work.work_id)
        return stored if stored is not None and not TRANSITIONS[stored.state] else None

    found: Work = await eventually(look)
    return found


async def test_a_work_is_done_beside_its_request() -> None:
    heard: list[tuple[Any, Actor]] = []

    async def run(arguments: Mapping[str, Any], actor: Actor) -> Any:
        heard.append((dict(arguments), actor))
        return {"found": 3}

    store = MemoryWorkStore()
    async with a_process(store, run, Clock()) as works:
        begun = await works.begin("kind", {"only": ["kafka"]}, ROOT)
        assert begun.state is WorkState.WAITING
        done = await ended(store, begun)
    assert (done.state, done.result, done.tries) == (WorkState.DONE, '{"found": 3}', 1)
    assert heard == [({"only": ["kafka"]}, ROOT)]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (StackError("Name a folder."), "Name a folder."),
        (Refused(Problem.REFUSED, words="No."), "No."),
        (RuntimeError("the password is hunter2"), module.LOST),
    ],
)
async def test_a_failure_is_said_and_a_defect_is_not_shown(failure: Exception, words: str) -> None:
    async def run(*_: Any) -> Any:
        raise failure

    store = MemoryWorkStore()
    async with a_process(store, run, Clock()) as works:
        failed = await ended(store, await works.begin("kind", {}, ROOT))
    assert (failed.state, failed.error) == (WorkState.FAILED, words)


async def test_a_process_that_stops_leaves_its_works_to_others() -> None:
    begun_by: list[str] = []

    async def for_ever(*_: Any) -> Any:
        begun_by.append("first")
        await asyncio.Event().wait()

    async def quickly(*_: Any) -> Any:
        begun_by.append("second")
        return {}

    store, clock = MemoryWorkStore(), Clock()
    async with a_process(store, for_ever, clock) as works:
        begun = await works.begin("kind", {}, ROOT)
        await until(lambda: begun_by)
    stored = await store.work(begun.work_id)
    assert stored is not None
    assert (stored.state, stored.holder) == (WorkState.WAITING, None)
    async with a_process(store, quickly, clock):
        done = await ended(store, begun)
    assert (done.state, done.tries) == (WorkState.DONE, 2)
    assert begun_by == ["first", "second"]


async def killed(store: MemoryWorkStore, clock: Clock, holder: str = "elsewhere") -> Work:
    """A work whose process was killed in the middle of it: it is held still, and nobody renews that."""
    begun = await Works(store, {}, clock).begin("kind", {}, ROOT)
    held = module.taken(begun, holder, clock(), resumable=True)
    assert held is not None
    assert await store.store_work(held, begun.version)
    return held


async def test_a_killed_process_is_followed_when_its_lease_is_over() -> None:
    ran = 0

    async def run(*_: Any) -> Any:
        nonlocal ran
        ran += 1

    store, clock = MemoryWorkStore(), Clock()
    held = await killed(store, clock)
    async with a_process(store, run, clock) as works:
        other = await ended(store, await works.begin("kind", {}, ROOT))
        assert other.state is WorkState.DONE
        assert (await store.work(held.work_id)) == held, "looked at, and not ours yet"
        clock.now += LEASE_MS
        done = await ended(store, held)
    assert (done.state, done.tries, ran) == (WorkState.DONE, 2, 2)


async def test_who_died_on_this_machine_is_followed_at_once() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from operations.replay.holder import this_run; print(this_run())",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()

    async def run(*_: Any) -> Any:
        return {}

    store, clock = MemoryWorkStore(), Clock()
    held = await killed(store, clock, said.decode().strip())
    async with a_process(store, run, clock):
        assert (await ended(store, held)).tries == 2


async def test_what_can_not_be_gone_on_with_fails_when_it_was_interrupted() -> None:
    async def run(*_: Any) -> Any:
        pytest.fail("it was begun before")

    store, clock = MemoryWorkStore(), Clock()
    held = await killed(store, clock)
    clock.now += LEASE_MS
    async with a_process(store, run, clock, resumable=False):
        failed = await ended(store, held)
    assert (failed.state, failed.error) == (WorkState.FAILED, INTERRUPTED)


async def test_what_kills_every_process_is_given_up() -> None:
    store, clock = MemoryWorkStore(), Clock()
    work = await killed(store, clock)
    for _ in range(TRIES_MAX - 1):
        clock.now += LEASE_MS
        again = module.taken(work, "dead", clock(), resumable=True)
        assert again is not None
        assert await store.store_work(again, work.version)
        work = again
    clock.now += LEASE_MS

    async def run(*_: Any) -> Any:
        pytest.fail("it was begun often enough")

    async with a_process(store, run, clock):
        failed = await ended(store, work)
    assert (failed.state, failed.error) == (WorkState.FAILED, TOO_OFTEN)


async def test_of_two_processes_one_does_it() -> None:
    ran = 0

    async def run(*_: Any) -> Any:
        nonlocal ran
        ran += 1
        await asyncio.sleep(0)

    store, clock = MemoryWorkStore(), Clock()
    async with a_process(store, run, clock) as one, a_process(store, run, clock) as other:
        for work in [await works.begin("kind", {}, ROOT) for works in (one, other) for _ in range(5)]:
            assert (await ended(store, work)).tries == 1
    assert ran == 10


async def test_whoever_lost_its_work_stops() -> None:
    stopped = asyncio.Event()
    begun_with: list[str] = []

    async def run(*_: Any) -> Any:
        begun_with.append("it")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    store, clock = MemoryWorkStore(), Clock()
    async with a_process(store, run, clock) as works:
        begun = await works.begin("kind", {}, ROOT)
        await until(lambda: begun_with)

        async def stolen() -> bool:
            held = await store.work(begun.work_id)
            assert held is not None
            later = clock() + 10 * LEASE_MS
            thief = module.taken(held, "thief", held.leased_until, resumable=True)
            assert thief is not None
            return await store.store_work(module.renewed(thief, later), held.version)

        await eventually(stolen)
        async with asyncio.timeout(10):
            await stopped.wait()
    kept = await store.work(begun.work_id)
    assert kept is not None
    assert kept.holder == "thief", "who lost it writes nothing any more"


async def test_an_outage_is_waited_out() -> None:
    async def run(*_: Any) -> Any:
        store.away = True
        return {}

    store, clock = MemoryWorkStore(), Clock()
    async with a_process(store, run, clock) as works:
        begun = await works.begin("kind", {}, ROOT)
        await until(lambda: store.away)
        store.away = False
        assert (await ended(store, begun)).state is WorkState.DONE


async def test_a_document_that_nobody_can_read_ends_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    store, looked = MemoryWorkStore(), 0
    real = store.unfinished_works

    async def damaged(limit: int = 100) -> list[Work]:
        nonlocal looked
        looked += 1
        if looked < 3:
            raise DamagedDocumentError("Work 'x': state: enum")
        return await real(limit)

    async def run(*_: Any) -> Any:
        return {}

    begun = await Works(store, {}, Clock()).begin("kind", {}, ROOT)
    monkeypatch.setattr(store, "unfinished_works", damaged)
    async with a_process(store, run, Clock()):
        assert (await ended(store, begun)).state is WorkState.DONE
    assert looked >= 3


async def test_too_many_at_once_are_refused() -> None:
    works = Works(MemoryWorkStore(), {}, Clock())
    for _ in range(UNDER_WAY_MAX):
        await works.begin("kind", {}, ROOT)
    with pytest.raises(Refused) as refused:
        await works.begin("kind", {}, ROOT)
    assert refused.value.problem is Problem.BUSY


async def test_a_result_without_end_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: Any) -> Any:
        return ["x" * 100] * 100

    monkeypatch.setattr(module, "RESULT_BYTES", 1_000)
    store = MemoryWorkStore()
    async with a_process(store, run, Clock()) as works:
        done = await ended(store, await works.begin("kind", {}, ROOT))
    assert done.result is not None
    assert "leftOut" in done.result


def test_what_ended_stays_as_it_ended() -> None:
    assert TRANSITIONS[WorkState.DONE] == TRANSITIONS[WorkState.FAILED] == {}
    assert {fact for facts in TRANSITIONS.values() for fact in facts} == set(WorkFact)


class Guests:
    """Whether those who asked still may, as a test says."""

    welcome = True
    away = False
    damaged = False

    async def __call__(self, actor: str) -> bool:
        assert actor == ROOT.name
        if self.away:
            raise Unavailable("mongodb", "away")
        if self.damaged:
            raise DamagedDocumentError("a damaged document in MongoDB: ApiKey 'x': role: enum", "ApiKey", "x")
        return self.welcome


@pytest.mark.parametrize("tries", [0, 1])
async def test_nothing_is_begun_for_who_may_no_longer(tries: int) -> None:
    async def run(*_: Any) -> Any:
        pytest.fail("it is begun")

    store, clock, guests = MemoryWorkStore(), Clock(), Guests()
    asked = await killed(store, clock) if tries else await Works(store, {}, clock).begin("kind", {}, ROOT)
    clock.now += LEASE_MS
    guests.welcome = False
    async with Works(store, {"kind": Kind(run, resumable=True)}, clock, may_still=guests).running():
        failed = await ended(store, asked)
    assert (failed.state, failed.error) == (WorkState.FAILED, module.NO_LONGER)


async def test_a_work_is_stopped_when_who_asked_for_it_may_no_longer() -> None:
    stopped, under_way = asyncio.Event(), asyncio.Event()

    async def run(*_: Any) -> Any:
        under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    store, guests = MemoryWorkStore(), Guests()
    works = Works(store, {"kind": Kind(run, resumable=True)}, Clock(), may_still=guests)
    async with works.running():
        begun = await works.begin("kind", {}, ROOT)
        await under_way.wait()
        guests.away = True  # nobody can say
        versions = (await store.work(begun.work_id)).version  # type: ignore[union-attr]
        await eventually(lambda: _renewed_twice(store, begun, versions))
        assert not stopped.is_set()
        guests.away, guests.welcome = False, False
        failed = await ended(store, begun)
        assert stopped.is_set()
    assert (failed.state, failed.error) == (WorkState.FAILED, module.NO_LONGER)


async def _renewed_twice(store: MemoryWorkStore, work: Work, since: int) -> bool:
    stored = await store.work(work.work_id)
    return stored is not None and stored.version >= since + 2


async def test_what_costs_much_is_done_one_at_a_time() -> None:
    async def run(*_: Any) -> Any:
        return {}

    store, clock = MemoryWorkStore(), Clock()
    kinds = {"dear": Kind(run, resumable=True, alone=True), "cheap": Kind(run, resumable=True)}
    works = Works(store, kinds, clock)
    first = await works.begin("dear", {}, ROOT)
    await works.begin("cheap", {}, ROOT)
    await works.begin("cheap", {}, ROOT)
    with pytest.raises(Refused) as refused:
        await works.begin("dear", {"only": []}, ROOT)
    assert refused.value.problem is Problem.BUSY
    assert first.work_id in str(refused.value.words)
    async with works.running():
        await ended(store, first)
    await works.begin("dear", {}, ROOT)


async def test_of_two_requests_in_one_instant_one_begins() -> None:
    class Slow(MemoryWorkStore):
        async def store_work(self, work: Work, expected: int) -> bool:
            await asyncio.sleep(0)
            return await super().store_work(work, expected)

        async def unfinished_works(self, limit: int = 100) -> list[Work]:
            found = await super().unfinished_works(limit)
            await asyncio.sleep(0)
            return found

    async def run(*_: Any) -> Any:
        return {}

    works = Works(Slow(), {"dear": Kind(run, resumable=True, alone=True)}, Clock())
    came = await asyncio.gather(*(works.begin("dear", {}, ROOT) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in came] == [Work, *[Refused] * 4]


async def test_whose_right_nobody_can_read_stands_in_no_others_way() -> None:
    async def may_still(actor: str) -> bool:
        if actor != ROOT.name:
            raise DamagedDocumentError("a damaged document in MongoDB: ApiKey 'x': role: enum", "ApiKey", "x")
        return True

    async def run(*_: Any) -> Any:
        return {}

    store, clock = MemoryWorkStore(), Clock()
    works = Works(store, {"kind": Kind(run, resumable=True)}, clock, may_still=may_still)
    unknown = await works.begin("kind", {}, replace(ROOT, name="eve/ov_abcdef"))
    clock.now += 1
    other = await works.begin("kind", {}, ROOT)
    async with works.running():
        assert (await ended(store, other)).state is WorkState.DONE
        failed = await ended(store, unknown)
    assert (failed.state, failed.error, failed.tries) == (WorkState.FAILED, module.NOT_KNOWN, 0)


async def test_a_work_is_stopped_when_nobody_can_read_whether_it_is_wanted() -> None:
    under_way = asyncio.Event()

    async def run(*_: Any) -> Any:
        under_way.set()
        await asyncio.Event().wait()

    store, guests = MemoryWorkStore(), Guests()
    works = Works(store, {"kind": Kind(run, resumable=True)}, Clock(), may_still=guests)
    async with works.running():
        begun = await works.begin("kind", {}, ROOT)
        await under_way.wait()
        guests.damaged = True
        failed = await ended(store, begun)
    assert (failed.state, failed.error) == (WorkState.FAILED, module.NOT_KNOWN)
