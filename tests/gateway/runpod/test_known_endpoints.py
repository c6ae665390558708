"""Endpoints that the gateway remembers, and ids that nobody gave."""

import pytest

from gateway.runpod.known_endpoints import FRESH_MS, REMEMBERED_MAX, KnownEndpoints
from repo.memory_endpoints import MemoryEndpointStore
from repo.ports import Unavailable
from tests.gateway.external import endpoint


async def test_made_up_ids_do_not_make_it_forget_those_in_use() -> None:
    store, now = MemoryEndpointStore(), 0
    assert await store.store_endpoint(endpoint(), 0)
    known = KnownEndpoints(store, lambda: now)
    assert await known.find("echo") == endpoint()
    for number in range(2 * REMEMBERED_MAX):
        assert await known.find(f"x{number}") is None
    now, store.away = FRESH_MS + 1, True
    assert await known.find("echo") == endpoint()
    with pytest.raises(Unavailable):
        await known.find("x0")


async def test_one_that_is_made_after_it_was_asked_for_is_found_soon() -> None:
    store, now = MemoryEndpointStore(), 0
    known = KnownEndpoints(store, lambda: now)
    assert await known.find("echo") is None
    assert await store.store_endpoint(endpoint(), 0)
    assert await known.find("echo") is None
    now = FRESH_MS
    assert await known.find("echo") == endpoint()
    now += FRESH_MS - 1
    store.away = True
    assert await known.find("echo") == endpoint()
