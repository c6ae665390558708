"""One gateway over memory twins for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.world import World, started


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started() as made:
        yield made
