"""What ``DeliveryStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from repo.core.documents import to_moment
from repo.deliveries import DeliveryStore
from repo.memory_deliveries import MemoryDeliveryStore
from repo.mongo import MongoDatabase
from schemas.deliveries import JOBS, Attempt, Delivery, DeliveryKind, DeliveryState, Endpoint, Hooks, WebhookEvent

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> DeliveryStore:
    if request.param == "memory":
        return MemoryDeliveryStore()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found.deliveries


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def an_endpoint(**changes: Any) -> Endpoint:
    made = Endpoint(
        endpoint_id=f"wh_{uuid.uuid4().hex}",
        url="https://example.org/hook?a=$b.c",
        listens={WebhookEvent.FAILED: NOW, WebhookEvent.COMPLETED: NOW - 5},
        secret="whsec_c2VjcmV0",
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


def a_delivery(user: str, **changes: Any) -> Delivery:
    made = Delivery(
        delivery_id=f"msg_{uuid.uuid4().hex}",
        user_id=user,
        endpoint_id="wh_1",
        kind=DeliveryKind.WEBHOOK,
        type="video.failed",
        body='{"a": "ä"}',
        version=1,
        created_at=NOW,
        delete_at=NOW + 1_000,
        next_at=NOW,
    )
    return replace(made, **changes)


async def test_endpoints_are_one_compared_document(store: DeliveryStore, user: str) -> None:
    assert await store.hooks(user) == Hooks(user_id=user)
    first = Hooks(user_id=user, version=1, endpoints=(an_endpoint(), an_endpoint(enabled=False, failing_since=3)))
    assert await store.store_hooks(first, 0)
    assert await store.store_hooks(first, 0), "the answer to the first try was lost"
    assert await store.hooks(user) == first
    assert not await store.store_hooks(replace(first, endpoints=()), 0)
    second = Hooks(user_id=user, version=2)
    assert await store.store_hooks(second, 1)
    assert not await store.store_hooks(Hooks(user_id=user, version=2, endpoints=(an_endpoint(),)), 1)
    assert await store.hooks(user) == second
    with pytest.raises(ValueError, match="does not come after"):
        await store.store_hooks(second, 2)


async def test_of_racing_writers_one_wins(store: DeliveryStore, user: str) -> None:
    def mine(number: int) -> Hooks:
        return Hooks(user_id=user, version=1, endpoints=(an_endpoint(description=str(number)),))

    won = await asyncio.gather(*(store.store_hooks(mine(number), 0) for number in range(20)))
    assert won.count(True) == 1
    delivery = a_delivery(user)
    added = await asyncio.gather(*(store.add(delivery) for _ in range(20)))
    assert added.count(True) == 1
    claims = [replace(delivery, version=2, claimed_by=str(number)) for number in range(20)]
    claimed = await asyncio.gather(*(store.store_delivery(one, 1) for one in claims))
    assert claimed.count(True) == 1
    assert await store.delivery(delivery.delivery_id) == claims[claimed.index(True)]


async def test_a_delivery_that_is_there_is_never_made_again(store: DeliveryStore, user: str) -> None:
    delivery = a_delivery(user)
    assert await store.add(delivery)
    over = replace(delivery, version=2, state=DeliveryState.SUCCEEDED, next_at=None, attempts=(a_try(), a_try()))
    assert await store.store_delivery(over, 1)
    assert await store.store_delivery(over, 1), "the answer to the first try was lost"
    assert not await store.add(delivery)
    assert await store.delivery(delivery.delivery_id) == over
    assert not await store.store_delivery(replace(delivery, version=2), 1)
    assert await store.delivery("msg_unknown") is None
    assert not await store.store_delivery(a_delivery(user, version=2), 1), "what is gone is not added"


def a_try() -> Attempt:
    return Attempt(at=NOW, duration_ms=12, status=500, error="HTTP 500")


async def test_what_is_due(store: DeliveryStore, user: str) -> None:
    other = f"{user}-2"
    later = a_delivery(user, next_at=NOW + 1)
    late, later_late = a_delivery(user, next_at=NOW - 9), a_delivery(other, next_at=NOW - 5, endpoint_id="wh_2")
    over = a_delivery(user, next_at=None, state=DeliveryState.FAILED)
    for one in (later, later_late, late, over):
        await store.add(one)

    async def due(now: int = NOW, limit: int = 10_000, **but: Any) -> list[Delivery]:
        return [one for one in await store.due(now, limit, **but) if one.user_id in (user, other)]

    assert await due() == [late, later_late]
    assert await due(NOW + 1) == [late, later_late, later]
    assert await due(not_of=[user]) == [later_late]
    assert await due(not_to=["wh_1", "wh_7"]) == [later_late]
    assert await due(not_of=[other], not_to=["wh_1"]) == []
    assert len(await store.due(NOW + 1, 2)) == 2
    placed = [a_delivery(user, endpoint_id=JOBS, to=f"{user}-{which}", next_at=NOW - 20) for which in (1, 2)]
    for one in placed:
        await store.add(one)
    assert await due(not_to=["wh_1", "wh_2", f"{user}-1"]) == [placed[1]]
    assert await due(not_to=["wh_1", "wh_2", JOBS]) == [], "or by what stands for all of them"


async def test_what_is_due_to_one_endpoint(store: DeliveryStore) -> None:
    to = f"wh_{uuid.uuid4().hex}"
    second, first = a_delivery("ann", endpoint_id=to), a_delivery("bob", endpoint_id=to, next_at=NOW - 1)
    later, over = a_delivery("ann", endpoint_id=to, next_at=NOW + 1), a_delivery("ann", endpoint_id=to, next_at=None)
    for one in (second, first, later, over, a_delivery("ann", next_at=NOW - 9)):
        await store.add(one)
    assert await store.due_to(to, NOW, 9) == [first, second]
    assert await store.due_to(to, NOW, 1) == [first]
    assert await store.due_to(to, NOW + 1, 9) == [first, second, later]


async def test_the_log_of_an_endpoint_pages(store: DeliveryStore, user: str) -> None:
    made = sorted(
        (a_delivery(user, created_at=NOW + number // 2) for number in range(7)),
        key=lambda one: (one.created_at, one.delivery_id),
        reverse=True,
    )
    for one in (*made, a_delivery(user, endpoint_id="wh_2"), a_delivery(f"{user}-2")):
        await store.add(one)
    assert await store.deliveries_of(user, "wh_1") == made
    first = await store.deliveries_of(user, "wh_1", limit=4)
    place = (first[-1].created_at, first[-1].delivery_id)
    assert [*first, *await store.deliveries_of(user, "wh_1", before=place)] == made


async def test_the_log_about_one_job(store: DeliveryStore, user: str) -> None:
    job_id = f"job-{uuid.uuid4().hex}"
    first, second = (a_delivery(user, endpoint_id=JOBS, job_id=job_id, created_at=NOW + at) for at in (0, 1))
    others = [a_delivery(user, endpoint_id=JOBS, job_id="x"), a_delivery(user, job_id=job_id)]
    foreign = a_delivery(f"{user}-2", endpoint_id=JOBS, job_id=job_id)
    for one in (first, second, *others, foreign):
        await store.add(one)
    assert await store.deliveries_of(user, JOBS, job_id=job_id) == [second, first]
    place = (second.created_at, second.delivery_id)
    assert await store.deliveries_of(user, JOBS, job_id=job_id, before=place) == [first]
    await store.forget_job(job_id)
    assert await store.deliveries_of(user, JOBS) == [others[0]]
    assert await store.deliveries_of(user, "wh_1") == [others[1]], "what its user's endpoints were told stays"
    assert await store.delivery(foreign.delivery_id) is None


async def test_what_is_open_of_a_job(store: DeliveryStore, user: str) -> None:
    job_id = f"job-{uuid.uuid4().hex}"
    pending = a_delivery(user, job_id=job_id)
    sending = a_delivery(user, job_id=job_id, state=DeliveryState.SENDING, next_at=NOW + 9)
    over = a_delivery(user, job_id=job_id, state=DeliveryState.SUCCEEDED, next_at=None)
    for one in (pending, sending, over, a_delivery(user, job_id="another")):
        await store.add(one)
    found = await store.open_of_job(job_id)
    assert sorted(found, key=lambda one: one.next_at or 0) == [pending, sending]


async def test_what_is_forgotten_and_swept(store: DeliveryStore, user: str) -> None:
    other = f"{user}-2"
    to_one, to_another = a_delivery(user), a_delivery(user, endpoint_id="wh_2", delete_at=NOW + 1)
    newer, others = a_delivery(user, endpoint_id="wh_2", created_at=NOW + 5), a_delivery(other)
    for one in (to_one, to_another, newer, others):
        await store.add(one)
    await store.forget_endpoint(user, "wh_1")
    assert await store.delivery(to_one.delivery_id) is None
    assert await store.delivery(others.delivery_id) == others
    assert await store.sweep(NOW) == 0
    await store.forget_deliveries(user, NOW + 5)
    assert await store.delivery(to_another.delivery_id) is None
    assert await store.delivery(newer.delivery_id) == newer
    assert await store.sweep(NOW + 1_000) >= 2
    assert await store.delivery(newer.delivery_id) is None


@pytest.mark.servers
async def test_a_damaged_delivery_is_set_aside_and_the_others_are_sent(mongo: MongoDatabase, user: str) -> None:
    raw = mongo.connection.collection("deliveries")
    await raw.insert_one({"_id": f"damaged-{user}", "userId": user, "nextAt": to_moment(NOW - 99), "body": 7})
    good = a_delivery(user)
    await mongo.deliveries.add(good)
    for _ in range(2):
        assert [one for one in await mongo.deliveries.due(NOW, 10_000) if one.user_id == user] == [good]
    document = await raw.find_one({"_id": f"damaged-{user}"})
    assert document is not None
    assert "nextAt" not in document


async def test_what_a_job_was_told_of_is_found_whatever_became_of_it(store: DeliveryStore, user: str) -> None:
    job_id = uuid.uuid4().hex
    told = [
        a_delivery(user, job_id=job_id, created_at=NOW + number, endpoint_id=endpoint, next_at=next_at)
        for number, (endpoint, next_at) in enumerate([("wh_1", None), (JOBS, NOW), ("wh_2", None)])
    ]
    for delivery in (*reversed(told), a_delivery(user), a_delivery(user, job_id=uuid.uuid4().hex)):
        await store.add(delivery)
    assert await store.of_job(job_id) == told
    assert await store.of_job(job_id, limit=2) == told[:2]
    assert await store.of_job(uuid.uuid4().hex) == []


async def test_how_much_is_due(store: DeliveryStore, user: str) -> None:
    early = 1_000_000_000_000  # before what any other test makes due
    assert (await store.backlog(early - 2)).oldest is None
    for next_at in (early, early - 1, early + 1, None):
        await store.add(a_delivery(user, next_at=next_at, delete_at=early))
    found = await store.backlog(early)
    assert (found.due, found.oldest) == (2, early - 1)
    assert (await store.backlog(early + 1)).due == 3
    await store.forget_deliveries(user, NOW + 1)  # due so early, they would go before those of other tests
