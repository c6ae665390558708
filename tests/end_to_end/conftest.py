"""One stack for all end-to-end tests, and ended with the last of them; each test has users of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.end_to_end.stack import WEBHOOK_SECRET, Stack, started


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    # Users' web servers, which the tests are, live on this machine.
    webhooks = {
        "OPENV_WEBHOOK_ALLOW_HTTP": "true",
        "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "OPENV_WEBHOOK_SECRET": WEBHOOK_SECRET,  # of the addresses that a RunPod engine gives away
    }
    folder = tmp_path_factory.mktemp("end_to_end") / "data"
    async with started(folder, "--workers", "2", environ=webhooks) as running:
        yield running
