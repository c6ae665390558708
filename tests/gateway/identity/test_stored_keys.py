"""When keys were last used, and what is cleared away: beside the request, never in its way."""

import asyncio
import gc
import warnings
from dataclasses import replace

import pytest

from gateway.identity.keys import hash_of, new_key
from gateway.identity.stored_keys import NOTE_EVERY_MS, NOTES_MAX, StoredKeys
from repo.memory import MemoryAccessStore
from schemas.access import PASSING, ApiKey, KeyKind
from tests.gateway.world import World, started, until


class Store(MemoryAccessStore):
    """Counts the notes, and lets a test hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def touch_api_key(self, key_hash: str, at: int) -> None:
        self.notes.append(at)
        await self.gate.wait()
        await super().touch_api_key(key_hash, at)


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def keys(store: Store, clock: Clock) -> StoredKeys:
    return StoredKeys(store, 10_000, clock)


async def stored(store: MemoryAccessStore, **how: object) -> ApiKey:
    _, key = new_key("ada", now=1, **how)  # type: ignore[arg-type]
    await store.store_api_key(key)
    return key


async def last_used(store: MemoryAccessStore, key: ApiKey) -> int | None:
    found = await store.api_key(key.key_hash)
    assert found is not None
    return found.last_used_at


async def test_a_use_is_noted_once_a_minute_a_key(keys: StoredKeys, store: Store, clock: Clock) -> None:
    key, other = await stored(store), await stored(store)
    for _ in range(100):
        keys.used(key)
        keys.used(other)
    await until(lambda: len(store.notes) == 2)
    assert await last_used(store, key) == clock.now
    clock.now += NOTE_EVERY_MS - 1
    keys.used(key)
    clock.now += 1
    keys.used(key)
    await until(lambda: len(store.notes) == 3)
    assert store.notes[-1] == clock.now
    assert await last_used(store, key) == clock.now


async def test_a_store_that_is_away_fails_no_request_and_one_that_hangs_gathers_no_crowd(
    keys: StoredKeys, store: Store, clock: Clock
) -> None:
    key = await stored(store)
    store.away = True
    keys.used(key)
    await until(lambda: store.notes)
    store.away = False
    store.gate.clear()
    crowd = [await stored(store) for _ in range(NOTES_MAX + 50)]
    for one in crowd:
        keys.used(one)
    await until(lambda: len(store.notes) == 1 + NOTES_MAX)
    store.gate.set()
    await until(lambda: all(store._keys[one.key_hash].last_used_at for one in crowd[:NOTES_MAX]))
    keys.used(crowd[-1])  # it had no turn, so it has one now
    await until(lambda: len(store.notes) == 2 + NOTES_MAX)
    assert clock.now == store.notes[-1]


async def test_notes_that_the_end_of_the_process_overtakes_are_no_noise(keys: StoredKeys, store: Store) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        keys.used(await stored(store))
        (note,) = keys._writing
        note.cancel()  # before its first step
        await asyncio.gather(note, return_exceptions=True)
        del note
        gc.collect()
    assert [str(one.message) for one in said] == []
    assert store.notes == []


async def test_a_note_that_lands_after_a_revocation_revokes_nothing_back(keys: StoredKeys, store: Store) -> None:
    key = await stored(store)
    store.gate.clear()
    keys.used(key)
    await until(lambda: store.notes)
    assert await store.revoke_api_key(key.key_hash, 5)
    store.gate.set()
    await until(lambda: store._keys[key.key_hash].last_used_at is not None)
    found = await store.api_key(key.key_hash)
    assert found is not None
    assert found.revoked_at == 5


async def test_a_new_session_or_ticket_clears_away_what_has_expired(
    keys: StoredKeys, store: Store, clock: Clock
) -> None:
    gone = clock.now - 1
    expired = [await stored(store, kind=kind, expires_at=gone) for kind in KeyKind]
    lasting = [await stored(store, kind=kind, expires_at=clock.now + 1) for kind in KeyKind]
    foreign = replace(expired[-1], key_hash="f", user_id="bob")
    await store.store_api_key(foreign)
    _, fresh = new_key("ada", now=clock.now, kind=KeyKind.TICKET, expires_at=clock.now + 5)
    await keys.keep(fresh)
    listed = [key for key in expired if key.kind not in PASSING]
    await until(lambda: len(store._keys) == len(listed) + len(lasting) + 2)
    left = {key.key_hash for key in await store.api_keys("ada")}
    assert left == {fresh.key_hash, *(key.key_hash for key in (*listed, *lasting))}
    assert await store.api_key("f") == foreign


@pytest.mark.parametrize("kind", list(KeyKind))
async def test_only_a_one_time_key_of_the_kind_that_is_asked_for_is_taken(
    keys: StoredKeys, store: Store, kind: KeyKind, clock: Clock
) -> None:
    secret, key = new_key("ada", now=1, kind=kind, expires_at=clock.now + 1)
    await store.store_api_key(key)
    for asked in (KeyKind.PAGE_LINK, KeyKind.TICKET):
        await store.store_api_key(key)
        taken = await asyncio.gather(*(keys.take(secret, asked) for _ in range(20)))
        assert [one for one in taken if one] == ([key] if kind is asked else [])
    clock.now += 1
    await store.store_api_key(key)
    assert await keys.take(secret, kind) is None


async def test_requests_note_their_key(world: World) -> None:
    secret = await world.key("ada")
    async with world.client(None) as http:
        answer = await http.get("/api/videos", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    access = world.database.access

    def noted() -> bool:
        return access._keys[hash_of(secret)].last_used_at is not None

    await until(noted)


async def test_a_request_goes_on_while_its_note_hangs() -> None:
    async with started() as world:
        hung = asyncio.Event()

        async def touch(key_hash: str, at: int) -> None:
            await hung.wait()

        world.database.access.touch_api_key = touch  # type: ignore[method-assign]
        async with world.client() as http:
            assert (await http.get("/api/videos")).status_code == 200
        hung.set()
