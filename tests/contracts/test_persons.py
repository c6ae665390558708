"""What ``AccessStore`` promises of persons, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from repo.access import AccessStore
from repo.memory import MemoryAccessStore
from schemas.access import Acceptance, ApiKey, Person
from schemas.accounts import Role

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> AccessStore:
    if request.param == "memory":
        return MemoryAccessStore()
    found: AccessStore = request.getfixturevalue("access_store")
    return found


@pytest.fixture
def ann() -> Person:
    return Person(user_id=f"user-{uuid.uuid4().hex[:8]}", updated_at=NOW, email="ann@example.org", first_name="Ann")


async def test_the_newest_word_wins_in_whatever_order_it_comes(store: AccessStore, ann: Person) -> None:
    newer, older = replace(ann, updated_at=NOW + 5, email="new@example.org"), replace(ann, updated_at=NOW - 5)
    assert await store.person(ann.user_id) is None
    assert await store.store_person(ann)
    assert await store.store_person(newer)
    assert not await store.store_person(ann)
    assert not await store.store_person(older)
    assert await store.person(ann.user_id) == newer


async def test_the_same_word_again_is_stored_already_another_of_that_instant_is_not(
    store: AccessStore, ann: Person
) -> None:
    assert await store.store_person(ann)
    assert await store.store_person(ann)
    assert not await store.store_person(replace(ann, email="other@example.org"))
    assert await store.person(ann.user_id) == ann


async def test_of_one_instant_told_deleted_wins_and_stays(store: AccessStore, ann: Person) -> None:
    gone = Person(user_id=ann.user_id, updated_at=NOW, deleted_at=NOW + 9)
    assert await store.store_person(ann)
    assert await store.store_person(gone)
    assert await store.store_person(gone)
    assert not await store.store_person(replace(gone, deleted_at=NOW + 20)), "the first to hear it is remembered"
    assert not await store.store_person(ann)
    assert await store.person(ann.user_id) == gone
    back = replace(ann, updated_at=NOW + 1)
    assert await store.store_person(back)
    assert await store.person(ann.user_id) == back


async def test_whoever_races_the_newest_is_there_in_the_end(store: AccessStore, ann: Person) -> None:
    told = [replace(ann, updated_at=NOW + (number * 7) % 20) for number in range(20)]
    await asyncio.gather(*(store.store_person(one) for one in told))
    assert await store.person(ann.user_id) == replace(ann, updated_at=NOW + 19)


async def test_what_is_forgotten_is_of_one_user_and_from_before(store: AccessStore, ann: Person) -> None:
    other = replace(ann, user_id=f"{ann.user_id}-2")
    for person in (ann, other):
        await store.store_person(person)
        for made_at in (NOW - 1, NOW):
            name = f"{person.user_id}:{made_at}"
            key = ApiKey(
                key_hash=name, prefix="", user_id=person.user_id, role=Role.USER, name=name, created_at=made_at
            )
            await store.store_api_key(key)
            await store.accept_terms(Acceptance(user_id=person.user_id, version=str(made_at), accepted_at=made_at))

    await store.forget(ann.user_id, NOW)
    assert [key.created_at for key in await store.api_keys(ann.user_id)] == [NOW]
    assert [one.accepted_at for one in await store.acceptances(ann.user_id)] == [NOW]
    assert await store.person(ann.user_id) == ann

    await store.forget(ann.user_id, NOW + 1)
    assert await store.api_keys(ann.user_id) == []
    assert await store.acceptances(ann.user_id) == []
    assert await store.person(ann.user_id) == Person(user_id=ann.user_id, updated_at=NOW)
    assert len(await store.api_keys(other.user_id)) == len(await store.acceptances(other.user_id)) == 2
    assert await store.person(other.user_id) == other
