"""What ``EndpointStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from repo.core.documents import DamagedDocumentError
from repo.endpoints import EndpointStore
from repo.memory import MemoryEndpointStore
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from schemas.chunks import Bundle, Chunks
from schemas.endpoints import BUILT_IN, EndpointKind, EndpointLimits, ServerlessEndpoint, external_pool

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> EndpointStore:
    if request.param == "memory":
        return MemoryEndpointStore()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found.endpoints


def an_endpoint(**changes: Any) -> ServerlessEndpoint:
    endpoint_id = f"e-{uuid.uuid4().hex[:12]}"
    made = ServerlessEndpoint(
        endpoint_id=endpoint_id,
        kind=EndpointKind.EXTERNAL,
        pool=external_pool(endpoint_id),
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


def some_chunks(**changes: Any) -> Chunks:
    made = Chunks(job_id=f"job-{uuid.uuid4().hex}", attempt=1, version=1, delete_at=NOW)
    return replace(made, **changes)


def some_bundles(job_id: str, count: int, **changes: Any) -> list[Bundle]:
    bare = Bundle(bundle_id="", job_id=job_id, delete_at=NOW, texts=('{"a": "$b.c"}', "null"))
    return [replace(bare, bundle_id=f"{job_id}:o:{number}", **changes) for number in range(count)]


async def test_every_member_of_an_endpoint_comes_back(store: EndpointStore) -> None:
    full = an_endpoint(
        limits=EndpointLimits(max_active=0, rate_limit=7, rate_window_ms=1),
        max_retries=0,
        execution_timeout_ms=5_000,
        ttl_ms=10_000,
        result_ms=60_000,
        users=("user_1", "a|b@c.d", "$where"),
        webhook_secret="whsec_c2VjcmV0",
        description="ein Text ☃ with $dollars and a.dot",
        deleted_at=NOW + 1,
    )
    for one in (full, an_endpoint(), an_endpoint(users=())):
        assert await store.store_endpoint(one, 0)
        assert await store.endpoint(one.endpoint_id) == one
        assert one in await store.endpoints()
    assert await store.endpoint("unknown") is None


async def test_an_endpoint_is_one_compared_document(store: EndpointStore) -> None:
    first = an_endpoint()
    assert await store.store_endpoint(first, 0)
    assert await store.store_endpoint(first, 0), "the answer to the first try was lost"
    assert not await store.store_endpoint(replace(first, description="another"), 0)
    second = replace(first, version=2, deleted_at=NOW)
    assert await store.store_endpoint(second, 1)
    assert await store.store_endpoint(second, 1), "the answer to the first try was lost"
    assert not await store.store_endpoint(replace(first, version=2), 1)
    assert await store.endpoint(first.endpoint_id) == second
    assert not await store.store_endpoint(an_endpoint(version=2), 1), "what is not there is not replaced"
    for expected in (2, 3):
        with pytest.raises(ValueError, match="does not come after"):
            await store.store_endpoint(second, expected)


async def test_of_racing_writers_one_wins(store: EndpointStore) -> None:
    first = an_endpoint()
    rivals = [replace(first, description=str(number)) for number in range(20)]
    won = await asyncio.gather(*(store.store_endpoint(one, 0) for one in rivals))
    assert won.count(True) == 1
    assert await store.endpoint(first.endpoint_id) == rivals[won.index(True)]
    later = [replace(first, version=2, description=str(number)) for number in range(20)]
    won = await asyncio.gather(*(store.store_endpoint(one, 1) for one in later))
    assert won.count(True) == 1
    assert await store.endpoint(first.endpoint_id) == later[won.index(True)]


async def test_all_are_listed_by_name_deleted_ones_too(store: EndpointStore) -> None:
    mine = [an_endpoint(), an_endpoint(deleted_at=NOW), an_endpoint()]
    for one in mine:
        await store.store_endpoint(one, 0)
    listed = await store.endpoints()
    names = [one.endpoint_id for one in listed]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert {one.endpoint_id for one in mine} | {BUILT_IN.endpoint_id} <= set(names)


async def test_the_built_in_one_is_there_until_it_is_changed(store: EndpointStore) -> None:
    """No other test here stores it."""
    assert await store.endpoint(BUILT_IN.endpoint_id) == BUILT_IN
    assert BUILT_IN in await store.endpoints()
    gone = replace(BUILT_IN, version=1, updated_at=NOW, deleted_at=NOW)
    assert await store.store_endpoint(gone, 0)
    assert await store.endpoint(BUILT_IN.endpoint_id) == gone
    assert [one for one in await store.endpoints() if one.endpoint_id == BUILT_IN.endpoint_id] == [gone]


async def test_chunks_are_one_compared_document_a_job(store: EndpointStore) -> None:
    first = some_chunks(waiting=('{"a": "$b.c"}', '"ä"', "null"), taken=4, attempt=2, writer="w", origin="o")
    first = replace(first, bundled=(3, 10, 200), bundled_bytes=7, bundled_count=5)
    assert await store.chunks(first.job_id) is None
    assert await store.store_chunks(first, 0)
    assert await store.store_chunks(first, 0), "the answer to the first try was lost"
    assert await store.chunks(first.job_id) == first
    emptied = replace(first, version=2, waiting=(), taken=7)
    assert await store.store_chunks(emptied, 1)
    assert not await store.store_chunks(replace(first, version=2), 1)
    assert await store.chunks(first.job_id) == emptied
    with pytest.raises(ValueError, match="does not come after"):
        await store.store_chunks(emptied, 2)


async def test_a_chunk_that_is_taken_by_many_is_given_to_one(store: EndpointStore) -> None:
    first = some_chunks(waiting=("1", "2"))
    await store.store_chunks(first, 0)
    emptied = [replace(first, version=2, waiting=(), delete_at=NOW + number) for number in range(20)]
    taken = await asyncio.gather(*(store.store_chunks(one, 1) for one in emptied))
    assert taken.count(True) == 1


async def test_what_nobody_took_is_swept_in_its_time(store: EndpointStore) -> None:
    due, later = some_chunks(delete_at=NOW - 10_000), some_chunks(delete_at=NOW + 10_000)
    for one in (due, later):
        await store.store_chunks(one, 0)
    assert await store.sweep_chunks(NOW - 10_001) == 0
    assert await store.sweep_chunks(NOW - 10_000) == 1
    assert await store.chunks(due.job_id) is None
    assert await store.chunks(later.job_id) == later
    assert await store.store_chunks(due, 0), "what is gone may be made again"


async def test_the_chunks_of_one_job_are_forgotten(store: EndpointStore) -> None:
    mine, other = some_chunks(waiting=("1",)), some_chunks()
    for one in (mine, other):
        await store.store_chunks(one, 0)
    await store.forget_chunks(mine.job_id)
    assert await store.chunks(mine.job_id) is None
    assert await store.chunks(other.job_id) == other
    await store.forget_chunks(mine.job_id)


async def test_bundles_come_in_the_order_that_is_asked_for_without_those_that_are_gone(store: EndpointStore) -> None:
    job_id = f"job-{uuid.uuid4().hex}"
    made = some_bundles(job_id, 12)
    for one in made:
        await store.store_bundle(one)
    ids = [one.bundle_id for one in made]
    assert await store.bundles(ids) == made
    assert await store.bundles([ids[11], "unknown", ids[2]]) == [made[11], made[2]]
    await store.drop_bundles(ids[1:11])
    await store.drop_bundles(ids[1:11])
    assert await store.bundles(ids) == [made[0], made[11]]
    assert await store.bundles([]) == []


async def test_a_bundle_that_is_there_stays_as_it_is(store: EndpointStore) -> None:
    [first] = some_bundles(f"job-{uuid.uuid4().hex}", 1)
    await store.store_bundle(first)
    await store.store_bundle(replace(first, delete_at=NOW + 1))
    assert await store.bundles([first.bundle_id]) == [first]


async def test_bundles_are_forgotten_with_their_job_named_or_not(store: EndpointStore) -> None:
    mine, other = (some_chunks(bundled=(0,), origin="o") for _ in range(2))
    other = replace(other, job_id=f"{mine.job_id}:o")  # no id is like this; whatever it is, its bundles are its own
    left: dict[str, list[Bundle]] = {}
    for one in (mine, other):
        left[one.job_id] = some_bundles(one.job_id, 3)
        for bundle in left[one.job_id]:
            await store.store_bundle(bundle)
        await store.store_chunks(one, 0)
    await store.forget_chunks(mine.job_id)
    assert await store.bundles([one.bundle_id for one in left[mine.job_id]]) == []
    assert await store.bundles([one.bundle_id for one in left[other.job_id]]) == left[other.job_id]
    assert await store.chunks(mine.job_id) is None


async def test_bundles_are_swept_in_their_time(store: EndpointStore) -> None:
    job_id = f"job-{uuid.uuid4().hex}"
    due, later = some_bundles(job_id, 2)
    due, later = replace(due, delete_at=NOW - 20_000), replace(later, delete_at=NOW + 10_000)
    for one in (due, later):
        await store.store_bundle(one)
    assert await store.sweep_chunks(NOW - 20_001) == 0
    assert await store.sweep_chunks(NOW - 20_000) == 1
    assert await store.bundles([due.bundle_id, later.bundle_id]) == [later]


async def test_an_outage_is_told_by_every_method() -> None:
    store = MemoryEndpointStore()
    store.away = True
    for ask in (
        store.endpoint("a"),
        store.endpoints(),
        store.store_endpoint(an_endpoint(), 0),
        store.chunks("j"),
        store.store_chunks(some_chunks(), 0),
        store.sweep_chunks(NOW),
        store.forget_chunks("j"),
        store.store_bundle(some_bundles("j", 1)[0]),
        store.bundles(["b"]),
        store.drop_bundles(["b"]),
    ):
        with pytest.raises(Unavailable):
            await ask


@pytest.mark.servers
async def test_a_damaged_endpoint_is_said_to_be_one(mongo: MongoDatabase) -> None:
    await mongo.connection.collection("endpoints").insert_one({"_id": "damaged", "kind": "nobody's"})
    try:
        with pytest.raises(DamagedDocumentError):
            await mongo.endpoints.endpoint("damaged")
    finally:
        await mongo.connection.collection("endpoints").delete_one({"_id": "damaged"})
