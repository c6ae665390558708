"""What generators stream: kept in order, of the newest attempt, and no more than a client may leave lying."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.workers import streaming
from schemas.chunks import CHUNK_MAX, CHUNKS_BYTES, Chunks
from schemas.lifecycle import State
from tests.gateway.workers.pool import Pool, external_job
from tests.gateway.world import until


async def kept(pool: Pool, job_id: str = "j-1") -> list[Any]:
    chunks = await pool.world.database.endpoints.chunks(job_id)
    return [orjson.loads(text) for text in chunks.waiting] if chunks else []


async def test_chunks_are_kept_in_order(pool: Pool) -> None:
    await pool.taken(external_job())
    wanted = [1, "two", {"three": [3]}, None, "f\u00fcnf \u4f60"]
    for chunk in wanted:
        answer = await pool.stream("j-1", {"output": chunk})
        assert (answer.status_code, answer.json()) == (200, {})
    assert await kept(pool) == wanted
    chunks = await pool.world.database.endpoints.chunks("j-1")
    assert chunks is not None
    assert all(text.isascii() for text in chunks.waiting), "characters are bytes, so that the limits hold"


async def test_a_newer_attempt_drops_what_an_older_one_left_and_an_older_one_is_dropped(pool: Pool) -> None:
    endpoints = pool.world.database.endpoints
    left = Chunks(job_id="j-1", attempt=1, version=4, delete_at=1, waiting=("1",), taken=2)
    assert await endpoints.store_chunks(left, 0)
    await pool.taken(external_job(attempt=2))
    assert (await pool.stream("j-1", {"output": "new"})).status_code == 200
    chunks = await endpoints.chunks("j-1")
    assert chunks is not None
    assert (chunks.attempt, chunks.waiting, chunks.taken, chunks.version) == (2, ('"new"',), 0, 5)
    newer = replace(chunks, attempt=3, version=6)
    assert await endpoints.store_chunks(newer, 5)
    assert (await pool.stream("j-1", {"output": "old"})).status_code == 200
    assert await endpoints.chunks("j-1") == newer


async def test_after_the_end_nothing_is_kept(pool: Pool) -> None:
    made = external_job()
    order = await pool.taken(made)
    await pool.world.ledger.announce(replace(made, version=2, state=State.CANCELLED, worker_id=order.worker_id))
    await until(lambda: pool.world.parts.workers.room.handed.find("echo", "pod-1", "j-1").over)  # type: ignore[union-attr]
    assert (await pool.stream("j-1", {"output": 1})).status_code == 200
    assert await kept(pool) == []


async def test_a_chunk_too_large_and_a_stream_too_long_are_refused_with_words(pool: Pool) -> None:
    await pool.taken(external_job())
    for size in (CHUNK_MAX, 3 * CHUNK_MAX):
        large = await pool.stream("j-1", {"output": "x" * size})
        assert large.status_code == 413
    waiting = tuple(["1" * 1_000_000] * (CHUNKS_BYTES // 1_000_000))
    full = Chunks(job_id="j-1", attempt=1, version=1, delete_at=1, waiting=waiting)
    assert await pool.world.database.endpoints.store_chunks(full, 0)
    answer = await pool.stream("j-1", {"output": 1})
    assert (answer.status_code, "stream" in answer.json()["error"]) == (429, True)
    assert await pool.world.database.endpoints.chunks("j-1") == full


@pytest.mark.parametrize("body", [b"", b"[1]", b"{}", b'{"error":"x"}', b"nonsense"])
async def test_what_is_no_chunk_is_refused(pool: Pool, body: bytes) -> None:
    await pool.taken(external_job())
    answer = await pool.stream("j-1", body)
    assert (answer.status_code, "chunk can't be kept" in answer.json()["error"]) == (400, True)
    assert await kept(pool) == []


async def test_a_client_that_takes_at_the_same_time_loses_nothing(pool: Pool) -> None:
    await pool.taken(external_job())
    endpoints = pool.world.database.endpoints
    store = endpoints.store_chunks
    raced = False

    async def beaten_once(chunks: Chunks, expected: int) -> bool:
        nonlocal raced
        if expected and not raced:
            raced = True
            known = await endpoints.chunks("j-1")
            assert known is not None
            await store(replace(known, version=known.version + 1, waiting=(), taken=1), known.version)
        return await store(chunks, expected)

    endpoints.store_chunks = beaten_once  # type: ignore[method-assign]
    for chunk in (1, 2, 3):
        assert (await pool.stream("j-1", {"output": chunk})).status_code == 200
    assert await kept(pool) == [2, 3]


async def test_who_is_beaten_for_ever_is_told_to_come_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PAUSE_S", 0.0)
    await pool.taken(external_job())

    async def beaten(chunks: Chunks, expected: int) -> bool:
        return False

    pool.world.database.endpoints.store_chunks = beaten  # type: ignore[method-assign]
    assert (await pool.stream("j-1", {"output": 1})).status_code == 503
