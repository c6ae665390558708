"""One stack for all end-to-end tests; each test has users of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.end_to_end.stack import Stack, started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with started(tmp_path_factory.mktemp("end_to_end") / "data", "--workers", "2") as running:
        yield running
