"""What ``AccessStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from repo.access import AccessStore, DamagedKey
from repo.core.documents import DamagedDocumentError
from repo.memory import MemoryAccessStore
from repo.mongo_access import MongoAccessStore
from repo.ports import Unavailable
from repo.settings import ServerSettings
from schemas.access import ONE_TIME, PASSING, Acceptance, ApiKey, KeyKind, Person, Scope, Voucher
from schemas.accounts import Role

NOW = 1_790_000_000_000
ODD = (
    "",
    "user_1",
    "a|b@c.d",
    "$where",
    "a.b",
    "ключ ☃ 🎬",
    "x" * 128,
    "with\0zero",
    "../..",
    '{"$gt": ""}',
    "1:a",
    "1",
)


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


def a_voucher(**changes: object) -> Voucher:
    code = uuid.uuid4().hex
    voucher = Voucher(code=code, created_by="admin", created_at=NOW, updated_at=NOW, expires_at=NOW + 9)
    return replace(voucher, **changes)  # type: ignore[arg-type]


# ---- keys


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


async def test_every_member_of_a_key_comes_back(store: AccessStore, user: str) -> None:
    key = a_key(
        user,
        role=Role.ADMIN,
        scopes=(Scope.WRITE,),
        kind=KeyKind.TICKET,
        revoked_at=NOW + 1,
        expires_at=NOW + 2,
        last_used_at=NOW + 3,
        parent_hash="p",
        session_expires_at=NOW + 4,
        endpoint="echo-2",
    )
    bare = a_key(user, scopes=())
    for one in (key, bare):
        await store.store_api_key(one)
        assert await store.api_key(one.key_hash) == one


async def test_a_new_key_stored_by_many_at_once_is_there(store: AccessStore, user: str) -> None:
    key = a_key(user)
    await asyncio.gather(*(store.store_api_key(key) for _ in range(20)))
    assert await store.api_keys(user) == [key]


@pytest.mark.parametrize("kind", sorted(ONE_TIME))
async def test_a_one_time_key_opens_once_whoever_races(store: AccessStore, user: str, kind: KeyKind) -> None:
    key = a_key(user, kind=kind)
    await store.store_api_key(key)
    taken = await asyncio.gather(*(store.consume_one_time_key(key.key_hash) for _ in range(50)))
    assert [one for one in taken if one is not None] == [key]
    assert await store.api_key(key.key_hash) is None


@pytest.mark.parametrize("kind", sorted(set(KeyKind) - ONE_TIME))
async def test_a_lasting_key_is_not_consumed(store: AccessStore, user: str, kind: KeyKind) -> None:
    key = a_key(user, kind=kind)
    await store.store_api_key(key)
    assert await store.consume_one_time_key(key.key_hash) is None
    assert await store.consume_one_time_key("unknown") is None
    assert await store.api_key(key.key_hash) == key


async def test_a_use_is_noted_and_never_moves_back(store: AccessStore, user: str) -> None:
    key = a_key(user)
    await store.store_api_key(key)
    await asyncio.gather(*(store.touch_api_key(key.key_hash, NOW + number) for number in range(30)))
    await store.touch_api_key(key.key_hash, NOW + 7)
    assert await store.api_key(key.key_hash) == replace(key, last_used_at=NOW + 29)
    await store.touch_api_key("unknown", NOW)
    assert await store.api_key("unknown") is None, "a use adds no key"


async def test_a_key_is_revoked_once_and_for_ever(store: AccessStore, user: str) -> None:
    key = a_key(user, last_used_at=NOW)
    await store.store_api_key(key)
    done = await asyncio.gather(*(store.revoke_api_key(key.key_hash, NOW + number) for number in range(20)))
    assert done.count(True) == 1
    revoked = await store.api_key(key.key_hash)
    assert revoked == replace(key, revoked_at=NOW + done.index(True))
    assert not await store.revoke_api_key(key.key_hash, NOW + 99)
    assert await store.api_key(key.key_hash) == revoked
    assert not await store.revoke_api_key("unknown", NOW)
    assert await store.api_key("unknown") is None


async def test_no_use_undoes_a_revocation(store: AccessStore, user: str) -> None:
    keys = [a_key(user) for _ in range(20)]
    for key in keys:
        await store.store_api_key(key)
    uses = [store.touch_api_key(key.key_hash, NOW + number) for key in keys for number in (1, 2, 3)]
    revocations = [store.revoke_api_key(key.key_hash, NOW + 5) for key in keys]
    both = [*uses[:30], *revocations, *uses[30:]]
    await asyncio.gather(*both)
    expected = {key.key_hash: replace(key, revoked_at=NOW + 5, last_used_at=NOW + 3) for key in keys}
    assert {key.key_hash: key for key in await store.api_keys(user)} == expected


async def test_expired_sessions_and_one_time_keys_are_discarded_others_are_not(store: AccessStore, user: str) -> None:
    kept = [
        a_key(user, expires_at=NOW - 1),
        a_key(user, kind=KeyKind.WORKER, expires_at=NOW - 1, endpoint="echo"),
        a_key(user, kind=KeyKind.SESSION, expires_at=NOW),
        a_key(user, kind=KeyKind.TICKET),
    ]
    others = a_key(f"{user}-another", kind=KeyKind.SESSION, expires_at=NOW - 1)
    gone = [a_key(user, kind=kind, expires_at=NOW - 1) for kind in PASSING]
    for key in (*kept, others, *gone):
        await store.store_api_key(key)
    await store.discard_expired_keys(user, NOW)
    assert {key.key_hash for key in await store.api_keys(user)} == {key.key_hash for key in kept}
    assert await store.api_key(others.key_hash) == others


# ---- terms


async def test_the_first_acceptance_of_a_version_stays(store: AccessStore, user: str) -> None:
    rivals = [Acceptance(user_id=user, version="v1", accepted_at=NOW + number) for number in range(30)]
    told = await asyncio.gather(*(store.accept_terms(one) for one in rivals))
    assert len(set(told)) == 1
    assert told[0] in rivals
    second = Acceptance(user_id=user, version="v2", accepted_at=NOW - 1)
    assert await store.accept_terms(second) == second
    await store.accept_terms(replace(second, user_id=f"{user}-another"))
    assert await store.acceptances(user) == [second, told[0]], "oldest first"
    assert await store.acceptances(f"{user}-nobody") == []


async def test_an_acceptance_that_meets_a_deletion_is_there_or_was_before_it(store: AccessStore, user: str) -> None:
    """What was answered as the first acceptance is stored, also where an older one is being forgotten."""
    for number in range(10):
        name = f"{user}-{number}"
        old = Acceptance(user_id=name, version="v1", accepted_at=NOW)
        await store.accept_terms(old)
        again = replace(old, accepted_at=NOW + 10)
        told, _ = await asyncio.gather(store.accept_terms(again), store.forget(name, NOW + 5))
        assert await store.acceptances(name) == ([again] if told == again else [])


# ---- vouchers


async def test_a_code_is_created_once_whoever_races(store: AccessStore) -> None:
    first = a_voucher()
    rivals = [replace(first, created_by=f"admin-{number}") for number in range(30)]
    made = await asyncio.gather(*(store.create_voucher(one) for one in rivals))
    assert made.count(True) == 1
    winner = rivals[made.index(True)]
    assert await store.voucher(first.code) == winner
    assert await store.create_voucher(winner), "a repeated write says the same again"
    assert not await store.create_voucher(replace(winner, expires_at=NOW + 99))
    assert await store.voucher(first.code) == winner
    assert await store.voucher(first.code.upper() + "x") is None


async def test_a_deactivated_voucher_stays_so(store: AccessStore) -> None:
    voucher = a_voucher()
    await store.create_voucher(voucher)
    off = replace(voucher, is_active=False, updated_at=NOW + 5)
    assert await store.deactivate_voucher(voucher.code, NOW + 5) == off
    assert await store.deactivate_voucher(voucher.code, NOW + 9) == off, "repeated: it says when it was"
    assert not await store.create_voucher(voucher), "nor is it made anew"
    assert await store.voucher(voucher.code) == off
    assert await store.deactivate_voucher("unknown", NOW) is None


async def test_vouchers_are_listed_newest_first(store: AccessStore) -> None:
    far = NOW + 10**9  # the newest of all that tests store
    made = [a_voucher(created_at=far + number // 2, code=f"{number}-{uuid.uuid4().hex}") for number in range(6)]
    for voucher in made:
        await store.create_voucher(voucher)
    assert await store.vouchers(limit=4) == list(reversed(made))[:4]
    assert await store.vouchers(limit=0) == []
    assert [one for one in await store.vouchers() if one in made] == list(reversed(made))


# ---- persons


def a_person(user_id: str, at: int = NOW, **changes: object) -> Person:
    person = Person(user_id=user_id, updated_at=at, email="a@example.org", first_name="Ada", last_name="ß ☃")
    return replace(person, **changes)  # type: ignore[arg-type]


def gone(user_id: str, at: int) -> Person:
    return Person(user_id=user_id, updated_at=at, deleted_at=at)


async def test_the_newest_word_of_a_person_wins_in_any_order(store: AccessStore, user: str) -> None:
    assert await store.person(user) is None
    newest = a_person(user, NOW + 2, email="new@example.org", image_url="https://example.org/1.png")
    assert await store.store_person(newest)
    for late in (a_person(user, NOW), a_person(user, NOW + 2, email="rival@example.org"), gone(user, NOW + 1)):
        assert not await store.store_person(late)
        assert await store.person(user) == newest
    assert await store.store_person(newest), "a repeated write says the same again"
    plain = Person(user_id=user, updated_at=NOW + 3)
    assert await store.store_person(plain)
    assert await store.person(user) == plain, "whole: what the new word does not say is gone"


async def test_told_deleted_at_the_same_instant_wins(store: AccessStore, user: str) -> None:
    for order in ((a_person, gone), (gone, a_person)):
        name = f"{user}-{order[0].__name__}"
        for told in order:
            await store.store_person(told(name, NOW))
        assert await store.person(name) == gone(name, NOW)
        assert not await store.store_person(a_person(name, NOW - 1))
    assert await store.store_person(a_person(name, NOW + 1)), "who comes back"


async def test_of_many_words_at_once_the_newest_stays(store: AccessStore, user: str) -> None:
    """Also the first ones of a user nothing is known of, where no write finds a document."""
    for number in range(5):
        name = f"{user}-{number}"
        words = [a_person(name, NOW + at) for at in (3, 1, 8, 2, 9, 5, 7, 4)]
        done = await asyncio.gather(*(store.store_person(word) for word in words))
        assert await store.person(name) == words[4]
        assert done[4]


# ---- forgetting


async def test_forgetting_keeps_what_is_newer_and_the_tombstone(store: AccessStore, user: str) -> None:
    keys = [a_key(user, created_at=NOW + number, kind=kind) for number in (-1, 0) for kind in KeyKind]
    another = a_key(f"{user}-another", created_at=NOW - 1)
    for key in (*keys, another):
        await store.store_api_key(key)
    accepted = [Acceptance(user_id=user, version=str(at), accepted_at=NOW + at) for at in (-1, 0)]
    for one in accepted:
        await store.accept_terms(one)
    await store.store_person(a_person(user, NOW - 5))
    await store.store_person(replace(a_person(user, NOW - 1), deleted_at=NOW - 1))
    for _ in range(2):  # it may be repeated
        await store.forget(user, NOW)
        assert {key.key_hash for key in await store.api_keys(user)} == {key.key_hash for key in keys[len(KeyKind) :]}
        assert await store.acceptances(user) == accepted[1:]
        assert await store.person(user) == gone(user, NOW - 1)
    assert await store.api_key(another.key_hash) == another
    assert not await store.store_person(a_person(user, NOW - 2)), "the tombstone still knows what is late"
    await store.forget(f"{user}-nobody", NOW)


async def test_forgetting_leaves_a_person_who_is_newer(store: AccessStore, user: str) -> None:
    back = a_person(user, NOW)
    await store.store_person(back)
    await store.forget(user, NOW)
    assert await store.person(user) == back


@pytest.mark.parametrize("name", ODD)
async def test_any_user_id_and_code_is_its_own(store: AccessStore, name: str) -> None:
    key, person = a_key(name, name=name), a_person(name)
    acceptances = [Acceptance(user_id=name, version=version, accepted_at=NOW) for version in ("1", "a", ":1")]
    voucher = a_voucher(code=f"{name}-{uuid.uuid4().hex}", created_by=name)
    await store.store_api_key(key)
    await store.store_person(person)
    for one in acceptances:
        assert await store.accept_terms(one) == one
    assert await store.create_voucher(voucher)
    assert await store.api_keys(name) == [key]
    assert await store.person(name) == person
    assert sorted(one.version for one in await store.acceptances(name)) == ["1", ":1", "a"]
    assert await store.voucher(voucher.code) == voucher
    await store.forget(name, NOW + 1)
    assert await store.api_keys(name) == []
    assert await store.acceptances(name) == []


# ---- what only one of the two does


async def test_memory_fails_when_told_to() -> None:
    store = MemoryAccessStore()
    store.away = True
    calls = (
        store.api_key("x"), store.store_api_key(a_key("u")), store.touch_api_key("x", 1), store.revoke_api_key("x", 1),
        store.consume_one_time_key("x"), store.discard_expired_keys("u", 1), store.api_keys("u"),
        store.accept_terms(Acceptance(user_id="u", version="1", accepted_at=1)), store.acceptances("u"),
        store.create_voucher(a_voucher()), store.voucher("c"), store.vouchers(), store.deactivate_voucher("c", 1),
        store.person("u"), store.store_person(a_person("u")), store.forget("u", 1), store.damaged_keys("u"),
        store.drop_damaged_key(DamagedKey("x", "x", "u", "role: enum")),
    )  # fmt: skip
    assert {call.__name__ for call in calls} == {name for name in vars(AccessStore) if not name.startswith("_")}
    for call in calls:
        with pytest.raises(Unavailable, match="mongodb"):
            await call


@pytest.mark.servers
async def test_a_damaged_key_is_named_without_its_values(
    settings: ServerSettings, access_store: MongoAccessStore, user: str
) -> None:
    key, good, odd = a_key(user, prefix="ov_Ab3xY9"), a_key(user), a_key(user, prefix="a secret")
    for one in (key, good, odd):
        await access_store.store_api_key(one)
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(settings.mongodb_uri, retryWrites=False)
    try:
        keys = client[settings.mongodb_database]["api_keys"]
        for one in (key, odd):
            await keys.update_one({"_id": one.key_hash}, {"$set": {"role": "a secret"}})
    finally:
        client.close()
    with pytest.raises(DamagedDocumentError, match="role") as caught:
        await access_store.api_key(key.key_hash)
    assert "a secret" not in str(caught.value)
    assert await access_store.api_keys(user) == [good], "it stands in the way of no other"
    found = {one.document_id: one for one in await access_store.damaged_keys(user)}
    assert found == {
        key.key_hash: DamagedKey(key.key_hash, "ov_Ab3xY9", user, "role: enum"),
        odd.key_hash: DamagedKey(odd.key_hash, odd.key_hash, user, "role: enum"),
    }
    assert await access_store.damaged_keys(f"{user}-another") == []
    for _ in range(2):
        await access_store.drop_damaged_key(found[key.key_hash])
    assert await access_store.api_key(key.key_hash) is None
    assert [one.document_id for one in await access_store.damaged_keys(user)] == [odd.key_hash]
    assert await access_store.api_keys(user) == [good]
