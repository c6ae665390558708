"""What ``AccessStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from repo.access import AccessStore
from repo.memory import MemoryAccessStore
from schemas.access import ApiKey, KeyKind
from schemas.accounts import Role

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> AccessStore:
    if request.param == "memory":
        return MemoryAccessStore()
    found: AccessStore = request.getfixturevalue("access_store")
    return found


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def a_key(user_id: str, **changes: object) -> ApiKey:
    digest = uuid.uuid4().hex
    key = ApiKey(key_hash=digest, prefix=digest[:6], user_id=user_id, role=Role.USER, name="n", created_at=NOW)
    return replace(key, **changes)  # type: ignore[arg-type]


async def test_api_keys_are_kept_replaced_and_listed(store: AccessStore, user: str) -> None:
    first, second = a_key(user), a_key(user, created_at=NOW + 1, expires_at=NOW + 9)
    for key in (second, first, a_key(f"{user}-another")):
        await store.store_api_key(key)
    assert await store.api_keys(user) == [first, second]
    revoked = replace(first, revoked_at=NOW + 5)
    await store.store_api_key(revoked)
    assert await store.api_key(first.key_hash) == revoked
    assert await store.api_keys(user) == [revoked, second]
    assert await store.api_key("unknown") is None


async def test_a_new_key_stored_by_many_at_once_is_there(store: AccessStore, user: str) -> None:
    key = a_key(user)
    await asyncio.gather(*(store.store_api_key(key) for _ in range(20)))
    assert await store.api_keys(user) == [key]


async def test_a_one_time_key_opens_once_whoever_races(store: AccessStore, user: str) -> None:
    key = a_key(user, kind=KeyKind.PAGE_LINK)
    await store.store_api_key(key)
    taken = await asyncio.gather(*(store.consume_one_time_key(key.key_hash) for _ in range(50)))
    assert [one for one in taken if one is not None] == [key]
    assert await store.api_key(key.key_hash) is None


async def test_a_lasting_key_is_not_consumed(store: AccessStore, user: str) -> None:
    key = a_key(user)
    await store.store_api_key(key)
    assert await store.consume_one_time_key(key.key_hash) is None
    assert await store.consume_one_time_key("unknown") is None
    assert await store.api_key(key.key_hash) == key
