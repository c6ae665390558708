"""Keys, their memory, sessions."""

from dataclasses import replace

import pytest

from gateway.identity.accounts import Accounts
from gateway.identity.auth import DAY_MS, Authenticator
from gateway.identity.keys import hash_of, is_key, new_key
from gateway.identity.stored_keys import STALE_MS
from repo.memory import MemoryAccessStore, MemoryJobStore
from repo.ports import Unavailable
from schemas.access import KeyKind
from schemas.accounts import Role
from tests.gateway.world import settings


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryAccessStore:
    return MemoryAccessStore()


@pytest.fixture
def auth(store: MemoryAccessStore, clock: Clock) -> Authenticator:
    return Authenticator(store, Accounts(MemoryJobStore(), clock, Role.RESTRICTED), settings(), clock)


def test_a_key_has_256_bits_and_only_its_hash_is_kept() -> None:
    (one, stored), (other, _) = new_key("ada", now=5), new_key("ada", now=5)
    assert one != other
    assert is_key(one)
    assert len(one) == 46
    assert one not in repr(stored)
    assert (stored.key_hash, stored.prefix, len(stored.key_hash)) == (hash_of(one), one[:9], 64)


@pytest.mark.parametrize("text", ["", "ov_", "ov_" + "a" * 42, "ov_" + "a" * 44, "sk_" + "a" * 43, "ov_" + "ä" * 43])
def test_text_that_is_no_key(text: str) -> None:
    assert not is_key(text)


async def test_a_key_is_its_user_until_it_is_revoked_or_expires(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    secret, key = new_key("ada", now=clock.now, expires_at=clock.now + DAY_MS)
    await store.store_api_key(key)
    assert (await auth.by_secret(secret)).user_id == "ada"  # type: ignore[union-attr]
    await store.store_api_key(replace(key, revoked_at=clock.now))
    clock.now += 30_000
    assert await auth.by_secret(secret) is None
    await store.store_api_key(key)
    clock.now += 30_000
    assert await auth.by_secret(secret) is not None
    clock.now = key.expires_at or 0
    assert await auth.by_secret(secret) is None


async def test_the_store_is_asked_once_in_a_while_not_every_time(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    secret, key = new_key("ada", now=clock.now)
    await store.store_api_key(key)
    assert await auth.by_secret(secret)
    store.away = True
    clock.now += STALE_MS - 1
    assert await auth.by_secret(secret)
    clock.now += 1
    with pytest.raises(Unavailable):
        await auth.by_secret(secret)
    with pytest.raises(Unavailable):
        await auth.by_secret(new_key("bob", now=0)[0])
    assert await auth.by_secret("no key") is None


async def test_a_one_time_token_opens_one_session_and_is_no_api_key(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    token, key = new_key("ada", now=clock.now, kind=KeyKind.PAGE_LINK, expires_at=clock.now + 60_000)
    await store.store_api_key(key)
    assert await auth.by_secret(token) is None
    session = await auth.open_session(token)
    assert session is not None
    assert (await auth.by_secret(session)).user_id == "ada"  # type: ignore[union-attr]
    assert await auth.open_session(token) is None
    clock.now += 30 * DAY_MS
    assert await auth.by_secret(session) is None


async def test_tokens_that_open_nothing(auth: Authenticator, store: MemoryAccessStore, clock: Clock) -> None:
    late, key = new_key("ada", now=clock.now, kind=KeyKind.PAGE_LINK, expires_at=clock.now)
    await store.store_api_key(key)
    lasting, key = new_key("ada", now=clock.now)
    await store.store_api_key(key)
    for token in (late, lasting, "", "ov_" + "a" * 43):
        assert await auth.open_session(token) is None
    assert await auth.by_secret(lasting) is not None
