"""``/stream``: each chunk once, whoever asks, and all of them with the final state."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.core.handouts import HandOut
from gateway.identity.principal import Principal
from gateway.runpod import stream
from gateway.runpod.asked import Asked
from gateway.runpod.waiting import presence
from gateway.workers.streaming import Streams
from schemas.accounts import Role
from schemas.chunks import CHUNK_MAX, Chunks
from schemas.instants import LAST
from schemas.lifecycle import State
from tests.gateway.runpod import echo
from tests.gateway.runpod.test_jobs import run, waiters
from tests.gateway.world import World, until


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)


async def put(world: World, job_id: str, *texts: str) -> None:
    """As a gateway that a worker streams to."""
    store = world.database.endpoints
    known = await store.chunks(job_id)
    version = known.version if known else 0
    before = known or Chunks(job_id=job_id, attempt=1, version=0, delete_at=LAST)
    made = replace(before, version=version + 1, waiting=(*before.waiting, *texts), writer=f"put {version}")
    assert await store.store_chunks(made, version)


async def ask(http: httpx.AsyncClient, job_id: str, method: str = "GET") -> dict[str, Any]:
    answer = await http.request(method, f"/v2/echo/stream/{job_id}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_chunks_come_in_order_and_once(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.start(world, job_id)
        await put(world, job_id, '"a"', '{"n":[1]}')
        assert (await ask(http, job_id))["stream"] == [{"output": "a"}, {"output": {"n": [1]}}]
        await put(world, job_id, "null")
        assert (await ask(http, job_id, "POST"))["stream"] == [{"output": None}]
        kept = await world.database.endpoints.chunks(job_id)
        assert kept is not None
        assert (kept.waiting, kept.taken) == ((), 3)


async def test_a_head_takes_nothing(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await put(world, job_id, "1")
        assert (await http.head(f"/v2/echo/stream/{job_id}")).status_code == 200
        assert (await ask(http, job_id))["stream"] == [{"output": 1}]


async def test_many_takers_share_the_chunks_and_none_comes_twice(world: World) -> None:
    store = world.database.endpoints
    slow = store.chunks

    async def read_together(job_id: str) -> Chunks | None:
        found = await slow(job_id)
        await asyncio.sleep(0)  # all have read before the first writes
        return found

    store.chunks = read_together  # type: ignore[method-assign]
    async with world.client() as http:
        job_id = await run(http)
        await echo.finish(world, job_id, {"output": 1})
        for round_ in range(5):
            await put(world, job_id, *(str(10 * round_ + n) for n in range(3)))
            answers = await asyncio.gather(*(ask(http, job_id) for _ in range(8)))
            taken = [chunk["output"] for one in answers for chunk in one["stream"]]
            assert sorted(taken) == [10 * round_ + n for n in range(3)]


async def test_with_the_final_state_comes_all_that_was_streamed(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await put(world, job_id, "1", "2")
        await echo.finish(world, job_id, {"output": [1, 2]})
        assert await ask(http, job_id) == {"status": "COMPLETED", "stream": [{"output": 1}, {"output": 2}]}
        assert await ask(http, job_id) == {"status": "COMPLETED", "stream": []}


async def add(world: World, job_id: str, *texts: str) -> None:
    """As ``put``, one post a chunk."""
    streams = Streams(world.database.endpoints)
    for text in texts:
        await streams.add(HandOut("ada", job_id, "w", 1), text, LAST)


async def test_a_long_stream_comes_whole_and_in_order(world: World) -> None:
    wanted = [f"{number:03} {'x' * 200}" for number in range(500)]
    async with world.client() as http:
        job_id = await run(http)
        await add(world, job_id, *(f'"{one}"' for one in wanted))
        await echo.finish(world, job_id, {"output": 1})
        told = await ask(http, job_id)
        assert told == {"status": "COMPLETED", "stream": [{"output": one} for one in wanted]}
        assert await ask(http, job_id) == {"status": "COMPLETED", "stream": []}


async def test_more_than_a_chunk_may_have_is_taken_when_there_is_room_for_it(world: World) -> None:
    room = world.parts.serverless.room
    room._patience_s = 0.05
    wanted = [letter * (CHUNK_MAX // 2) for letter in "abc"]
    async with world.client() as http:
        job_id = await run(http)
        await add(world, job_id, *(f'"{one}"' for one in wanted))
        async with room.held("told:ada", 64 * 1024 * 1024):
            assert (await http.get(f"/v2/echo/stream/{job_id}")).status_code == 503
        told = await ask(http, job_id)
        assert told == {"status": "IN_QUEUE", "stream": [{"output": one} for one in wanted]}
        assert room.taken == 0
        await echo.finish(world, job_id, {"output": 1})
        assert (await ask(http, job_id))["stream"] == []


async def test_an_answer_waits_for_the_next_chunk(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.start(world, job_id)
        asking = asyncio.create_task(ask(http, job_id))
        await waiters(world, 1)
        await put(world, job_id, "7")
        assert (await asking)["stream"] == [{"output": 7}]


async def test_an_answer_waits_for_the_end(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        asking = asyncio.create_task(ask(http, job_id))
        await waiters(world, 1)
        await echo.move(world, job_id, State.CANCELLED)
        assert await asking == {"status": "CANCELLED", "stream": []}


async def test_nothing_for_a_while_is_said_in_time_for_the_sdk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stream.PATIENCE_S < 10
    monkeypatch.setattr(stream, "PATIENCE_S", 0.05)
    async with world.client() as http:
        job_id = await run(http)
        assert await ask(http, job_id) == {"status": "IN_QUEUE", "stream": []}


async def test_the_store_is_away(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        world.database.endpoints.away = True
        assert (await http.get(f"/v2/echo/stream/{job_id}")).status_code == 503


async def test_while_nobody_streams_the_store_is_not_asked_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LOOK_AGAIN_S", 0.001)
    looks, read = 0, world.database.endpoints.chunks

    async def counting(job_id: str) -> Chunks | None:
        nonlocal looks
        looks += 1
        return await read(job_id)

    world.database.endpoints.chunks = counting  # type: ignore[method-assign]
    async with world.client() as http:
        job_id = await run(http)
        asking = asyncio.create_task(ask(http, job_id))
        await until(lambda: looks == 1)
        other = await run(http)
        await echo.start(world, other)
        assert looks == 1
        await echo.start(world, job_id)
        await until(lambda: looks > 3)  # now one may come at any moment, by whichever gateway
        await put(world, job_id, "7")
        assert (await asking)["stream"] == [{"output": 7}]


async def test_nothing_is_taken_for_a_client_that_has_gone(world: World) -> None:
    async with world.client() as http:
        job_id = await run(http)
        await echo.start(world, job_id)
        await put(world, job_id, "1")
        who = Asked(world.parts, Principal("ada", Role.USER), echo.endpoint())
        with world.parts.serverless.endings.waiting_for(job_id, "ada") as waiter:
            async with presence(left) as gone:
                assert gone.done()
                await stream._taken(who, await echo.stored(world, job_id), waiter, gone)
        assert (await ask(http, job_id))["stream"] == [{"output": 1}]


async def left() -> dict[str, Any]:
    """What a server says of a client that is not there any more."""
    return {"type": "http.disconnect"}
