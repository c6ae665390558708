"""``/purge-queue`` and ``/health``."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from gateway.errors import Problem, Refused
from gateway.parts import Parts
from gateway.runpod import purging
from gateway.runpod.asked import Asked
from gateway.runpod.purge import Purge
from repo.clock import now_ms
from schemas.accounts import Role
from schemas.commands import CancelJob
from schemas.events import CommandAnswered
from schemas.lifecycle import State
from schemas.progress import PoolShown
from tests.gateway.runpod import echo
from tests.gateway.runpod.test_jobs import run
from tests.gateway.world import World, eventually, settings, started, until

PURGE = "/v2/echo/purge-queue"


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)


async def states(world: World, *job_ids: str) -> list[str]:
    return [(await echo.stored(world, job_id)).state.value for job_id in job_ids]


async def test_only_ones_own_queued_jobs_of_this_endpoint_go(world: World) -> None:
    await echo.add(world, endpoint_id="other")
    async with world.client() as http, world.client("ben") as ben:
        mine, runs, elsewhere, bens = await run(http), await run(http), await run(http, "other"), await run(ben)
        await echo.start(world, runs)
        answer = await http.post(PURGE, content=b"", headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()) == (200, {"removed": 1, "status": "completed"})
        assert await states(world, mine, runs, elsewhere, bens) == ["cancelled", "processing", "queued", "queued"]
        assert (await http.post(PURGE)).json()["removed"] == 0
    sent = [one for one in world.ledger.heard if isinstance(one, CancelJob)]
    assert [(one.job_id, one.queued_only) for one in sent] == [(mine, True)]


async def test_an_admin_empties_the_whole_queue(world: World) -> None:
    async with world.client() as http, world.client("root", role=Role.ADMIN) as root:
        mine = await run(http)
        assert (await root.post(PURGE)).json()["removed"] == 1
        assert await states(world, mine) == ["cancelled"]


async def test_a_job_that_started_meanwhile_is_not_counted(world: World) -> None:
    async with world.client() as http:
        first, second = await run(http), await run(http)
        read = world.store.endpoint_jobs

        async def read_before_it_started(*what: object, **how: object) -> object:
            found = await read(*what, **how)  # type: ignore[arg-type]
            await echo.start(world, second)
            return found

        world.store.endpoint_jobs = read_before_it_started  # type: ignore[method-assign, assignment]
        assert (await http.post(PURGE)).json()["removed"] == 1
        assert await states(world, first, second) == ["cancelled", "processing"]


async def test_a_thousand_at_once(world: World) -> None:
    async with world.client() as http:
        one = await echo.stored(world, await run(http))
        for n in range(1_000):
            job = echo.replace(one, job_id=f"job-{n}")
            assert await world.store.store_job(job, 0)
        answer = await http.post(PURGE)
        assert answer.json() == {"removed": 1_001, "status": "completed"}
        await until(lambda: len(world.ledger.heard) == 1_002)


async def test_what_is_recorded_and_not_decided_is_not_counted_as_removed() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world:
        await echo.add(world)
        async with world.client() as http:
            decided, waits = await run(http), await run(http)
            decide = world.ledger.decide

            async def decide_one(command: CancelJob) -> None:
                if command.job_id == decided:
                    await decide(command)

            world.ledger.decide = decide_one  # type: ignore[method-assign, assignment]
            assert (await http.post(PURGE)).json() == {"removed": 1, "status": "in_progress"}
            assert await states(world, decided, waits) == ["cancelled", "queued"]
            world.ledger.decide = decide  # type: ignore[method-assign]
            assert (await http.post(PURGE)).json() == {"removed": 1, "status": "completed"}


async def test_what_takes_longer_than_clients_wait_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "PURGE_S", 0.05)
    async with world.client() as http:
        job_id = await run(http)
        world.ledger.silent = True
        assert (await http.post(PURGE)).json() == {"removed": 0, "status": "in_progress"}
        await world.ledger.decide(await cancel_of(world, job_id))
        await until(lambda: not world.parts.serverless.beside)
        assert await states(world, job_id) == ["cancelled"]


async def test_a_purge_that_kafka_does_not_take_says_so_once() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world:
        await echo.add(world)
        async with world.client() as http:
            ids = [await run(http) for _ in range(20)]
            with world.kafka_away(), capture_logs() as said:
                assert (await http.post(PURGE)).status_code == 503
            assert [line for line in said if line["log_level"] != "info"] == [
                {"event": "purge_not_decided", "endpoint": "echo", "not_recorded": 20, "log_level": "warning"}
            ]
            send, refused = purging.sent, ids[:5]

            async def refusing(parts: Parts, command: CancelJob) -> CommandAnswered | None:
                if command.job_id in refused:
                    raise Refused(Problem.NOT_RECORDED)
                return await send(parts, command)

            with pytest.MonkeyPatch.context() as patch, capture_logs() as said:
                patch.setattr(purging, "sent", refusing)
                answer = await http.post(PURGE)
            assert (answer.status_code, answer.json()) == (200, {"removed": 15, "status": "incomplete"})
            assert [line for line in said if line["log_level"] != "info"] == [
                {"event": "purge_not_decided", "endpoint": "echo", "removed": 15, "not_recorded": 5,
                 "log_level": "warning"}
            ]  # fmt: skip
            assert await states(world, *refused) == ["queued"] * 5


async def test_a_defect_in_one_cancelling_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.client() as http:
        broken, whole = await run(http), await run(http)
        send = purging.sent

        async def breaking(parts: Parts, command: CancelJob) -> CommandAnswered | None:
            return await send(parts, command) if command.job_id != broken else {}[broken]

        monkeypatch.setattr(purging, "sent", breaking)
        assert (await http.post(PURGE)).status_code == 500
        assert await states(world, broken, whole) == ["queued", "cancelled"]
        assert not world.parts.serverless.beside


async def test_a_job_that_was_deleted_meanwhile_is_none_to_cancel(world: World) -> None:
    async with world.client() as http:
        one = await echo.stored(world, await run(http))
        read = world.store.endpoint_jobs

        async def with_one_that_is_gone(*what: object, **how: object) -> object:
            return [*await read(*what, **how), echo.replace(one, job_id="gone")]  # type: ignore[arg-type]

        world.store.endpoint_jobs = with_one_that_is_gone  # type: ignore[method-assign, assignment]
        assert (await http.post(PURGE)).json() == {"removed": 1, "status": "completed"}


@pytest.fixture
async def patient() -> AsyncIterator[World]:
    """A gateway that waits for a decision for as long as a slow machine may need."""
    async with started(settings(decision_timeout_seconds=30)) as world:
        await echo.add(world)
        yield world


async def test_who_calls_again_meanwhile_cancels_nothing_twice_and_misses_nothing_new(
    patient: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = patient
    monkeypatch.setattr(purging, "PURGE_S", 30.0)
    joined, under_way = list[bool](), purging._under_way

    async def told(who: Asked, user_id: str | None) -> tuple[Purge, bool]:
        found = await under_way(who, user_id)
        joined.append(found[1])
        return found

    async with world.client() as http:
        old = await run(http)
        world.ledger.silent = True
        first = asyncio.create_task(http.post(PURGE))
        command = await cancel_of(world, old)
        monkeypatch.setattr(purging, "_under_way", told)
        again = asyncio.create_task(http.post(PURGE))
        await until(lambda: joined == [False])
        world.ledger.silent = False
        new = await run(http)
        await world.ledger.decide(command)
        assert (await first).json() == {"removed": 1, "status": "completed"}
        assert (await again).json() == {"removed": 1, "status": "completed"}
        assert await states(world, old, new) == ["cancelled", "cancelled"]
        assert [one.job_id for one in world.ledger.heard if isinstance(one, CancelJob)] == [old, new]
        assert not world.parts.serverless.purges


async def test_a_users_queues_are_emptied_one_after_the_other_and_nobody_waits_for_them(
    patient: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = patient
    monkeypatch.setattr(purging, "PURGE_S", 0.2)
    monkeypatch.setattr(purging, "AT_ONCE", 2)
    await echo.add(world, endpoint_id="second")
    async with world.client() as http, world.client("ben") as ben:
        ids = [await run(http) for _ in range(5)]
        other = (await http.post("/v2/second/run", json={"input": 1})).json()["id"]
        await ben.post("/v2/echo/run", json={"input": 1})
        decide = world.ledger.decide

        async def only_bens(command: CancelJob) -> None:
            if command.user_id == "ben":
                await decide(command)

        world.ledger.decide = only_bens  # type: ignore[method-assign, assignment]
        for path in (PURGE, "/v2/second/purge-queue"):
            assert (await http.post(path)).json() == {"removed": 0, "status": "in_progress"}
        monkeypatch.setattr(purging, "PURGE_S", 30.0)
        assert (await ben.post(PURGE)).json() == {"removed": 1, "status": "completed"}
        asked = [one.job_id for one in world.ledger.heard if isinstance(one, CancelJob) and one.user_id == "ada"]
        assert len(asked) == 2, "as many as are under way at a time"
        assert other not in asked
        world.ledger.decide = decide  # type: ignore[method-assign]
        for command in [one for one in world.ledger.heard if isinstance(one, CancelJob) and one.user_id == "ada"]:
            await decide(command)
        await until(lambda: not world.parts.serverless.purges)
        assert await states(world, *ids, other) == ["cancelled"] * 6


async def test_more_than_one_call_takes_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "PURGE_MAX", 2)
    async with world.client() as http:
        for _ in range(3):
            await run(http)
        assert (await http.post(PURGE)).json() == {"removed": 2, "status": "incomplete"}
        assert (await http.post(PURGE)).json() == {"removed": 1, "status": "completed"}
        await run(http)
        await run(http)
        assert (await http.post(PURGE)).json() == {"removed": 2, "status": "completed"}


async def cancel_of(world: World, job_id: str) -> CancelJob:
    """The command to cancel it, once it is in the log."""

    def found() -> list[CancelJob]:
        return [one for one in world.ledger.heard if isinstance(one, CancelJob) and one.job_id == job_id]

    await until(found)
    return found()[0]


async def test_a_purge_that_is_broken_off_is_finished_all_the_same(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        world.ledger.silent = True
        calling = asyncio.create_task(http.post(PURGE))
        command = await cancel_of(world, job_id)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        (left,) = world.parts.serverless.beside
        await world.ledger.decide(command)
        await left
        await until(lambda: not world.parts.serverless.beside)
        assert await states(world, job_id) == ["cancelled"]
        world.ledger.silent = False
        await run(http)
        assert (await http.post(PURGE)).json()["removed"] == 1
        assert not world.parts.serverless.beside


async def test_health_counts_jobs_and_workers() -> None:
    time = [now_ms()]
    async with started(now=lambda: time[0]) as world:
        await echo.add(world)
        async with world.client() as http:
            ids = [await run(http) for _ in range(6)]
            await echo.start(world, ids[0])
            for job_id, state in zip(
                ids[1:5], (State.COMPLETED, State.FAILED, State.TIMED_OUT, State.CANCELLED), strict=True
            ):
                await echo.move(world, job_id, state)
            await echo.move(world, ids[5], State.QUEUED, tries=2, attempt=2)
            shown = PoolShown(pool="endpoint.echo", idle=2, running=1, starting=3, draining=4, shown_at=time[0])
            await echo.say(world, shown)
            await echo.say(world, echo.replace(shown, pool="another", idle=99))
            await echo.say(world, echo.replace(shown, idle=98, shown_at=time[0] - 1))
            workers = {"idle": 2, "initializing": 3, "ready": 2, "running": 1, "throttled": 4}
            wanted = {"completed": 1, "failed": 2, "inProgress": 1, "inQueue": 1, "retried": 1}

            async def seen() -> bool:
                time[0] += 1_000
                told = (await http.get("/v2/echo/health")).json()
                return bool(told == {"jobs": wanted, "workers": workers})

            assert await eventually(seen)
            time[0] += 60_001
            assert set((await http.get("/v2/echo/health")).json()["workers"].values()) == {0}


async def test_health_asks_the_store_once_a_second(world: World) -> None:
    asked = []
    count = world.store.endpoint_counts

    async def counting(endpoint_id: str, since: int) -> object:
        asked.append(since)
        await asyncio.sleep(0)
        return await count(endpoint_id, since)

    world.store.endpoint_counts = counting  # type: ignore[method-assign, assignment]
    async with world.client() as http:
        answers = await asyncio.gather(*(http.get("/v2/echo/health") for _ in range(20)))
        assert {one.status_code for one in answers} == {200}
    assert len(asked) == 1


async def test_health_without_a_store(world: World) -> None:
    async with world.client() as http:
        world.database.jobs.away = True
        assert (await http.get("/v2/echo/health")).status_code == 503
        world.database.jobs.away = False
        assert (await http.get("/v2/echo/health")).status_code == 200
