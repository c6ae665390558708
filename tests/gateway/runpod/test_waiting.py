"""Who waits learns that the client has gone, and can be stopped at any moment."""

import asyncio
from typing import Any

import pytest

from gateway.runpod.waiting import presence


async def test_it_is_told_that_the_client_has_gone() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async with asyncio.timeout(30), presence(receive) as gone:
        await gone


async def test_being_stopped_while_it_lets_go_of_the_client_stops_it() -> None:
    stopping, release = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()
            await release.wait()
        raise AssertionError

    went_on = False

    async def ask() -> None:
        nonlocal went_on
        async with presence(receive):
            await asyncio.sleep(0)
        went_on = True

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(30):
        await stopping.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    release.set()
    assert not went_on
