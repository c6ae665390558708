"""Two gateways and a ledger on real servers: vouchers that race, terms accepted at one, keys as they are used."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway.identity.keys import hash_of, new_key
from repo.clock import now_ms
from repo.mongo_access import MongoAccessStore
from repo.mongo_jobs import MongoJobStore
from schemas.access import Scope
from schemas.accounts import Role
from tests.outages.kafka_world import Gateway
from tests.streams.streams_process import eventually, streams_running
from tests.streams.submissions import new_id

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

TOLD = {
    "OPENV_TERMS_REQUIRED": "true",
    "OPENV_TERMS_VERSION": "2.0.0",
    "OPENV_VOUCHER_TRIES": "1000",
    "OPENV_KEY_CACHE_SECONDS": "0.2",
    "OPENV_DECISION_TIMEOUT_SECONDS": "60",  # however busy the machine is, these tests are about what is decided
}
Pair = tuple[Gateway, Gateway]


@pytest.fixture(scope="module")
async def pair(
    servers: Mapping[str, str], topics: list[str], database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("access")
    environment = {**servers, "MONGODB_DATABASE": database, **TOLD}
    one, two = (Gateway(environment, folder / f"gateway-{number}.log") for number in (1, 2))
    try:
        async with streams_running(environment, folder / "ledger.log", "--role", "ledger"):
            await asyncio.gather(one.ready(120), two.ready(120))
            yield one, two
            for gateway in (one, two):
                assert "Traceback" not in gateway.log.read_text(), gateway.words()
                assert await gateway.terminate() == 0
    finally:
        one.close()
        two.close()


@asynccontextmanager
async def clients(
    pair: Pair, store: MongoAccessStore, user_id: str | None = None, **how: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient, str]]:
    """One user's clients of both gateways, and the key."""
    secret, key = new_key(user_id or new_id("u-"), now=now_ms(), **how)
    await store.store_api_key(key)
    async with AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=gateway.url, headers={"Authorization": f"Bearer {secret}"}, timeout=120, trust_env=False
                )
            )
            for gateway in pair
        ]
        yield both[0], both[1], secret


async def voucher_of(pair: Pair, store: MongoAccessStore) -> str:
    """A fresh code, made over HTTP by an admin who has accepted the terms."""
    code = new_id("V-")
    async with clients(pair, store, role=Role.ADMIN) as (http, _, _key):
        assert (await http.post("/api/terms/accept")).status_code == 200
        assert (await http.post("/api/voucher", json={"code": code})).status_code == 200
    return code


async def test_terms_accepted_at_one_gateway_count_at_the_other_at_once(
    pair: Pair, access_store: MongoAccessStore
) -> None:
    async with clients(pair, access_store) as (here, there, _):
        for http in (here, there):
            for path in ("/api/videos", "/api/usage", "/api/voucher"):
                refused = await http.get(path)
                assert (refused.status_code, refused.json()["code"]) == (403, "terms_not_accepted")
        accepted = await asyncio.gather(*(http.post("/api/terms/accept") for http in (here, there) for _ in range(10)))
        assert {one.status_code for one in accepted} == {200}
        told = [(await http.get("/api/terms/check")).json() for http in (here, there)]
        assert told[0] == told[1]
        assert [one["version"] for one in told[0]["history"]] == ["2.0.0"], "twenty at once are one yes"
        for http in (here, there):
            assert (await http.get("/api/videos")).status_code == 200


async def test_twenty_at_two_gateways_redeem_a_voucher_once_and_may_make_a_video_then(
    pair: Pair, access_store: MongoAccessStore, job_store: MongoJobStore
) -> None:
    code = await voucher_of(pair, access_store)
    user_id = new_id("u-")
    async with clients(pair, access_store, user_id, role=Role.RESTRICTED) as (here, there, _):
        assert (await here.post("/api/terms/accept")).status_code == 200
        for http in (here, there):
            assert (await http.post("/api/runpod", json={"prompt": "a corgi"})).status_code == 403
        answers = await asyncio.gather(
            *(http.put("/api/voucher", json={"code": code}) for http in (here, there) for _ in range(10))
        )
        assert sorted(one.status_code for one in answers) == [200] + [400] * 19, [one.text for one in answers]
        refused = {one.json()["message"] for one in answers if one.status_code == 400}
        assert refused == {"You have already used this voucher code"}
        account = await job_store.account(user_id)
        assert account is not None
        assert (account.role, [use.code for use in account.vouchers]) == (Role.USER, [code])
        made = await here.post("/api/runpod", json={"prompt": "a corgi", "num_frames": 7})
        assert made.status_code == 200, made.text

        async def heard_there() -> bool:
            return bool((await there.get("/api/voucher")).json()["role"] == "user")

        await eventually(heard_there, what="the other gateway to hear of the account")
        made = await there.post("/api/runpod", json={"prompt": "a corgi", "num_frames": 7})
        assert made.status_code == 200, made.text
        assert len(await job_store.jobs_of(user_id)) == 2


async def test_many_users_redeem_one_code_each_once(
    pair: Pair, access_store: MongoAccessStore, job_store: MongoJobStore
) -> None:
    code = await voucher_of(pair, access_store)
    users = [new_id("u-") for _ in range(10)]
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(clients(pair, access_store, user)) for user in users]
        await asyncio.gather(*(here.post("/api/terms/accept") for here, _, _ in crowd))
        answers = await asyncio.gather(
            *(http.put("/api/voucher", json={"code": code}) for here, there, _ in crowd for http in (here, there))
        )
    assert sorted(one.status_code for one in answers) == [200] * 10 + [400] * 10
    accounts = [await job_store.account(user) for user in users]
    assert [[use.code for use in account.vouchers] if account else [] for account in accounts] == [[code]] * 10


async def test_a_key_is_noted_as_used_keeps_to_its_scopes_and_ends_everywhere(
    pair: Pair, access_store: MongoAccessStore
) -> None:
    async with clients(pair, access_store, scopes=(Scope.READ, Scope.WRITE)) as (here, there, secret):
        assert (await here.post("/api/terms/accept")).status_code == 200
        assert (await there.get("/api/videos")).status_code == 200
        assert (await there.get("/api/vouchers")).json()["code"] == "scope_missing"

        async def noted() -> bool:
            key = await access_store.api_key(hash_of(secret))
            return key is not None and key.last_used_at is not None

        await eventually(noted, what="the use noted")
        assert await access_store.revoke_api_key(hash_of(secret), now_ms())
        for http in (here, there):

            async def refused(http: httpx.AsyncClient = http) -> bool:
                return (await http.get("/api/videos")).status_code == 401

            await eventually(refused, what="the revoked key refused")
        key = await access_store.api_key(hash_of(secret))
        assert key is not None
        assert key.revoked_at is not None


async def test_a_ticket_of_one_gateway_is_used_up_at_the_other(pair: Pair, access_store: MongoAccessStore) -> None:
    async with clients(pair, access_store) as (here, there, _):
        assert (await here.post("/api/terms/accept")).status_code == 200
        ticket = (await here.post("/api/live/ticket")).json()["ticket"]
        headers = {"Authorization": f"Bearer {ticket}"}
        for http in (here, there):
            assert (await http.get("/api/videos", headers=headers)).status_code == 401
        taken = await asyncio.gather(*(access_store.consume_one_time_key(hash_of(ticket)) for _ in range(20)))
        assert len([one for one in taken if one]) == 1
