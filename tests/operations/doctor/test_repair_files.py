"""What the doctor deletes is judged once more, as it is then: since it was found, the world went on."""

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operations.doctor import repair as module
from operations.doctor.surroundings import DAY_MS, Surroundings
from repo.core.object_keys import file_key, input_key
from repo.memory import MemoryDatabase
from repo.memory_objects import MemoryObjectStore
from repo.stores import ObjectStores
from streams.core.forgetting import LEAST_MS

NOW = 1_790_000_000_000
OLD = NOW - LEAST_MS - DAY_MS


@dataclass
class Mongo:
    made: int = 0

    async def made_at(self) -> int:
        return self.made


def around(store: MemoryObjectStore, made_at: int = 0) -> Surroundings:
    told: dict[str, Any] = {
        "stores": ObjectStores(store),
        "desk": SimpleNamespace(database=MemoryDatabase()),
        "mongo": Mongo(made_at),
        "now": lambda: NOW,
        "older_than_ms": DAY_MS,
    }
    return cast("Surroundings", SimpleNamespace(**told))


@pytest.fixture
def store() -> MemoryObjectStore:
    made = MemoryObjectStore()
    made.clock = lambda: OLD
    return made


async def test_an_input_that_was_given_anew_since_it_was_found_stays(store: MemoryObjectStore) -> None:
    again, left = input_key("ann", str(uuid.uuid4())), input_key("ann", str(uuid.uuid4()))
    for key in (again, left):
        await store.put_bytes(key, b"x", "text/plain")
    store.clock = lambda: NOW - 1_000
    await store.put_bytes(again, b"x", "text/plain")  # its job is still to be decided
    said = await module._files(around(store), [f":{again}", f":{left}", ":gone/since/then"])
    assert list(store.objects) == [again]
    assert said.startswith("1 objects deleted, 2 are in use")


async def test_nothing_older_than_a_database_that_was_rebuilt_since_goes(store: MemoryObjectStore) -> None:
    key = file_key("ann", str(uuid.uuid4()), 1, "w", "s", "video")
    await store.put_bytes(key, b"x", "text/plain")
    await module._files(around(store, made_at=NOW), [f":{key}"])
    assert list(store.objects) == [key]
    await module._files(around(store, made_at=OLD), [f":{key}"])
    assert not store.objects


async def test_all_of_many_are_found_again(store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 7)
    keys = [file_key(f"u{number}", str(uuid.uuid4()), 1, "w", "s", "video") for number in range(50)]
    for key in keys:
        await store.put_bytes(key, b"x", "text/plain")
    meant = keys[::3]
    await module._files(around(store), [f":{key}" for key in meant])
    assert set(store.objects) == set(keys) - set(meant)
