"""One worker of one external endpoint for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.workers.pool import Pool, pool_in
from tests.gateway.world import World, settings, started


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started(settings(worker_poll_seconds=30)) as made:
        yield made


@pytest.fixture
async def pool(world: World) -> AsyncIterator[Pool]:
    async with pool_in(world) as made:
        yield made
