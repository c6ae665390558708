"""Completion webhooks against real web servers: what arrives, which answers count, and what our own part may cost."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import structlog
from aiohttp import web
from standardwebhooks import Webhook

from repo.clock import now_ms
from repo.core.addresses import Rules, read_networks
from repo.memory import MemoryDatabase
from repo.memory_objects import MemoryObjectStore
from repo.outgoing import Outgoing
from repo.ports import Unavailable
from repo.stores import FALLBACK, ObjectStores
from repo.values import output_of, store_input
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointKind, ServerlessEndpoint
from schemas.jobs import Job, Output, StoredFile
from schemas.lifecycle import State
from schemas.requests import external_request
from streams.core.deliveries import Result, SendingPolicy
from streams.core.notices import job_delivery
from streams.job_sender import JobSender, LargeBodies, Sources
from streams.senders import Skip
from tests.streams.core.test_job_calls import ended
from tests.streams.post import until
from tests.streams.receiver import Receiver, never, receiving

LOCAL = Rules(allow_http=True, networks=read_networks("127.0.0.0/8"))
SECRET = f"whsec_{base64.b64encode(b'of the endpoint').decode()}"
RESULT = 20_000_000  # bytes, what a worker may answer


class Desk:
    """One deployment's stores, a web server outside, and the sender between them."""

    def __init__(self, receiver: Receiver, outgoing: Outgoing, **policy: Any) -> None:
        self.receiver = receiver
        self.database = MemoryDatabase()
        self.main = MemoryObjectStore()
        self.objects = ObjectStores(self.main, MemoryObjectStore("s3_fallback", "spare"))
        self.policy = SendingPolicy(**{"timeout_ms": 1_000, **policy})
        sources = Sources(self.database.jobs, self.database.endpoints, self.objects)
        self.sender = JobSender(sources, outgoing, now_ms, self.policy)

    async def claimed(self, path: str, *, store: bool = True, **changes: Any) -> Delivery:
        """A delivery about a job that has ended, as a courier holds it."""
        made = ended(**({"finished_at": now_ms(), "webhook": self.receiver.url(path)} | changes))
        if store:
            assert await self.database.jobs.store_job(made, 0)
        return self.lease(made)

    def lease(self, made: Job) -> Delivery:
        delivery = job_delivery(made, now_ms())
        assert delivery is not None
        return replace(delivery, next_at=now_ms() + self.policy.lease_ms)

    async def endpoint(self, secret: str | None) -> None:
        made = ServerlessEndpoint(
            endpoint_id="any",
            kind=EndpointKind.EXTERNAL,
            pool="p",
            version=1,
            created_at=1,
            updated_at=1,
            webhook_secret=secret,
        )
        assert await self.database.endpoints.store_endpoint(made, 0)

    async def send(self, delivery: Delivery) -> Result:
        prepared = await self.sender.prepare(delivery)
        assert not isinstance(prepared, Skip), prepared
        return await prepared()

    async def large(self, path: str, job_id: str = "j1") -> Delivery:
        """About a job whose input and output lie in the object store."""
        value = {"input": {"words": ["é" * 1000] * 4000}, "s3Config": {"accessSecret": "hidden-key"}}
        request = external_request(key=await store_input(self.objects, "ann", job_id, orjson.dumps(value)))
        word = orjson.dumps({"output": {"frames": ["x" * 10_000] * (RESULT // 10_003)}})
        output = await output_of(self.objects, "ann", job_id, 1, "w", "s", word)
        assert output.value_key
        return await self.claimed(path, job_id=job_id, request=request, output=output)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with receiving() as receiver, Outgoing(LOCAL, timeout_s=60.0) as outgoing:
        yield Desk(receiver, outgoing)


async def test_runpods_object_arrives_unsigned_where_the_endpoint_has_no_secret(desk: Desk) -> None:
    desk.receiver.answers["/done"] = lambda _: web.Response(status=200)
    with structlog.testing.capture_logs() as logs:
        result = await desk.send(await desk.claimed("/done?token=hidden"))
    assert (result.succeeded, result.status) == (True, 200)
    (call,) = desk.receiver.at("/done")
    assert call.told == {
        "id": "j1",
        "status": "COMPLETED",
        "output": 1,
        "input": {},
        "webhook": desk.receiver.url("/done?token=hidden"),
    }
    assert not [name for name in call.headers if name.startswith("webhook-")]
    assert call.headers["content-type"] == "application/json"
    assert "hidden" not in f"{logs}{result}"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (201, "HTTP 201: only 200 counts"),
        (204, "HTTP 204: only 200 counts"),
        (307, "HTTP 307: redirects are not followed"),
        (404, "HTTP 404"),
        (410, "HTTP 410"),
        (500, "HTTP 500"),
    ],
)
async def test_only_200_counts(desk: Desk, status: int, error: str) -> None:
    inside = {"Location": desk.receiver.url("/inside")}
    desk.receiver.answers["/done"] = lambda _: web.Response(status=status, headers=inside)
    result = await desk.send(await desk.claimed("/done"))
    assert (result.status, result.error, result.final, result.put_off) == (status, error, False, False)
    assert desk.receiver.at("/inside") == []


async def test_who_says_nothing_is_waited_for_no_longer_than_allowed() -> None:
    async with receiving() as receiver, Outgoing(LOCAL, timeout_s=0.2) as outgoing:
        desk = Desk(receiver, outgoing)
        receiver.answers["/done"] = never
        result = await desk.send(await desk.claimed("/done"))
        assert (result.error, result.put_off) == ("no answer within 0.2 s", False)


async def test_what_is_sent_leads_to_no_private_address() -> None:
    async with receiving() as receiver, Outgoing(Rules(allow_http=True)) as outgoing:
        desk = Desk(receiver, outgoing)
        result = await desk.send(await desk.claimed("/done"))
        assert (result.error, result.final) == ("the host does not lead to a public address", False)
        assert receiver.calls == []


async def test_large_ones_arrive_whole_and_signed_and_without_the_clients_keys(desk: Desk) -> None:
    desk.receiver.answers["/done"] = lambda _: web.Response(status=200)
    await desk.endpoint(SECRET)
    delivery = await desk.large("/done")
    for _ in range(2):
        assert (await desk.send(delivery)).status == 200
    first, second = desk.receiver.at("/done")
    assert first.id == second.id == delivery.delivery_id
    for call in (first, second):
        Webhook(SECRET).verify(call.body, call.headers, json_parse=False)
    assert len(first.body) > RESULT
    assert int(first.headers["content-length"]) == len(first.body)
    told = orjson.loads(first.body)
    assert (len(told["output"]["frames"]), len(told["input"]["words"])) == (RESULT // 10_003, 4000)
    assert b"hidden-key" not in first.body


@pytest.mark.parametrize("store", [None, FALLBACK])
async def test_of_a_video_a_signed_address_is_told(desk: Desk, store: str | None) -> None:
    desk.receiver.answers["/done"] = lambda _: web.Response(status=200)
    video = StoredFile(key="ann/v.mp4", bytes=1, sha256="0", media_type="video/mp4", store=store)
    await desk.send(await desk.claimed("/done", external=False, endpoint=None, output=Output(video=video)))
    (call,) = desk.receiver.at("/done")
    host = "objects" if store is None else "spare"
    assert call.told["output"] == {"result": f"memory://{host}/ann/v.mp4?expires=86400", "status": "DONE"}


async def test_a_deleted_or_retried_job_is_not_told_of(desk: Desk) -> None:
    delivery = await desk.claimed("/done")
    job = await desk.database.jobs.job("j1")
    assert job is not None
    again = replace(job, run=2, version=job.version + 1, state=State.QUEUED)
    assert await desk.database.jobs.store_job(again, job.version)
    assert await desk.sender.prepare(delivery) == Skip("The job was tried again: how that ends is told anew.")
    gone = replace(again, version=again.version + 1, state=State.DELETED, webhook=None)
    assert await desk.database.jobs.store_job(gone, again.version)
    for one in (delivery, await desk.claimed("/done", job_id="j2", store=False)):
        assert await desk.sender.prepare(one) == Skip("The job was deleted.")
    assert desk.receiver.calls == []


async def test_s3_away_costs_no_try_and_mongodb_is_waited_for_by_others(desk: Desk) -> None:
    delivery = await desk.large("/done")
    desk.main.away = True
    result = await desk.send(delivery)
    assert (result.put_off, result.error) == (True, "s3 does not answer")
    desk.database.away = True
    with pytest.raises(Unavailable):
        await desk.sender.prepare(delivery)
    assert desk.receiver.calls == []


async def test_what_can_not_be_told_truly_is_not_told(desk: Desk) -> None:
    delivery = await desk.large("/done")
    desk.main.objects.clear()
    lost = await desk.send(delivery)
    assert (lost.final, lost.error) == (True, "what the worker answered, or was given, is not stored any more")
    torn = await desk.send(await desk.claimed("/done", job_id="j2", output=Output(value='{"out')))
    assert (torn.final, torn.error) == (True, "what the worker answered, or was given, can't be read")
    await desk.endpoint("whsec_not base64")
    unsigned = await desk.send(await desk.claimed("/done", job_id="j3"))
    assert (unsigned.final, unsigned.error) == (True, "the endpoint's webhook secret can't be used")
    assert desk.receiver.calls == []


async def test_a_slow_store_costs_no_try_and_leaves_no_try_beyond_the_lease() -> None:
    async with receiving() as receiver, Outgoing(LOCAL) as outgoing:
        desk = Desk(receiver, outgoing, large_ms=20)
        delivery = await desk.large("/done")
        read = desk.main.read

        async def slow(key: str) -> bytes | None:
            await asyncio.Event().wait()
            return await read(key)

        desk.main.read = slow  # type: ignore[method-assign]
        result = await desk.send(delivery)
        assert (result.put_off, result.error) == (True, "the object store is too slow")
        small = await desk.claimed("/done", job_id="j2")
        late = await desk.send(replace(small, next_at=now_ms() + desk.policy.timeout_ms - 1))
        assert (late.put_off, late.error) == (True, "it took too long to make")
        assert receiver.calls == []


async def test_large_ones_wait_for_each_other_and_users_take_turns() -> None:
    bodies = LargeBodies(2, within_ms=30_000)
    order: list[str] = []
    release: dict[str, asyncio.Event] = {}

    async def hold(user_id: str, name: str) -> None:
        release[name] = asyncio.Event()
        async with bodies.place(user_id) as is_held:
            assert is_held
            order.append(name)
            await release[name].wait()

    async with asyncio.TaskGroup() as group:
        for user_id, name in [("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("bob", "b1"), ("cyd", "c1")]:
            group.create_task(hold(user_id, name))
        await until(lambda: len(order) == 2 and len(release) == 5)
        assert order == ["a1", "b1"], "one of a user"
        release["b1"].set()
        await until(lambda: len(order) == 3)
        assert order[2] == "c1", "who came later, but has none"
        for one in release.values():
            one.set()
    assert sorted(order[3:]) == ["a2", "a3"]


async def test_who_waits_too_long_for_a_place_gives_it_up_and_blocks_nobody() -> None:
    bodies = LargeBodies(1, within_ms=20)
    async with bodies.place("ann") as first:
        for user_id in ("ann", "bob"):
            async with bodies.place(user_id) as second:
                assert (first, second) == (True, False)
    async with bodies.place("bob") as third:
        assert third
