"""``/purge-queue`` and ``/health``."""

import asyncio

import pytest

from gateway.identity.principal import Principal
from gateway.runpod import queue
from gateway.runpod.asked import Asked
from repo.clock import now_ms
from schemas.accounts import Role
from schemas.commands import CancelJob
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


async def test_what_is_recorded_and_not_decided_counts() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world:
        await echo.add(world)
        async with world.client() as http:
            await run(http)
            world.ledger.silent = True
            assert (await http.post(PURGE)).json()["removed"] == 1
            with world.kafka_away():
                assert (await http.post(PURGE)).status_code == 503


async def test_a_purge_that_is_broken_off_is_finished_all_the_same(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        who = Asked(world.parts, Principal("ada", Role.USER), echo.endpoint())
        world.ledger.silent = True
        purging = asyncio.create_task(queue._cancel_all(who, [await echo.stored(world, job_id)]))
        await until(lambda: [one for one in world.ledger.heard if isinstance(one, CancelJob)])
        purging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await purging
        (left,) = world.parts.serverless.beside
        command = next(one for one in world.ledger.heard if isinstance(one, CancelJob))
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
