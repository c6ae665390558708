"""Who asks a database that is away, and who is told what the one who asked has found."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pymongo.errors import ConnectionFailure, DuplicateKeyError, NetworkTimeout

from repo.mongo_outage import Outage, StillAway


class Server:
    """Answers when the test lets it; counts who waits for it at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0
        self.at_once = 0
        self.failure: Exception | None = NetworkTimeout("silence")

    async def question(self) -> str:
        self.asked += 1
        self.at_once += 1
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        return "answer"


async def away() -> tuple[Outage, Server]:
    """An outage that has been noticed."""
    outage, server = Outage(), Server()
    server.gate.set()
    with pytest.raises(ConnectionFailure):
        await outage.ask(server.question)
    server.gate.clear()
    return outage, server


async def begun(count: int, ask: Callable[[], Awaitable[str]]) -> "list[asyncio.Task[str]]":
    """So many tasks, each of which has come as far as it can."""

    async def asking() -> str:
        return await ask()

    tasks = [asyncio.create_task(asking()) for _ in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_while_all_is_well_everybody_asks_at_once() -> None:
    outage, server = Outage(), Server()
    server.failure = None
    tasks = await begun(5, lambda: outage.ask(server.question))
    assert server.at_once == 5
    server.gate.set()
    assert await asyncio.gather(*tasks) == ["answer"] * 5


async def test_while_it_is_away_one_asks_and_the_others_hear_of_the_failure() -> None:
    outage, server = await away()
    tasks = await begun(5, lambda: outage.ask(server.question))
    assert server.at_once == 1
    server.gate.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in told] == [NetworkTimeout] + [StillAway] * 4
    assert {one.failure for one in told if isinstance(one, StillAway)} == {server.failure}


@pytest.mark.parametrize("failure", [None, DuplicateKeyError("there is one")])
async def test_once_it_answers_everybody_asks_whatever_the_answer(failure: Exception | None) -> None:
    outage, server = await away()
    server.failure = failure
    tasks = await begun(5, lambda: outage.ask(server.question))
    server.gate.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert server.asked == 1 + 5
    assert told == [failure or "answer"] * 5
    server.gate.clear()
    await begun(5, lambda: outage.ask(server.question))
    assert server.at_once == 5
    server.gate.set()


async def test_where_the_one_who_asks_is_cancelled_another_asks() -> None:
    outage, server = await away()
    scout, *others = await begun(4, lambda: outage.ask(server.question))
    scout.cancel()
    await asyncio.gather(scout, return_exceptions=True)
    await asyncio.sleep(0)
    server.failure = None
    server.gate.set()
    assert await asyncio.gather(*others) == ["answer"] * 3
    assert server.asked == 2 + 3  # the outage, the one who was cancelled; then each for itself


async def test_who_waits_for_another_may_be_cancelled() -> None:
    outage, server = await away()
    scout, waiter = await begun(2, lambda: outage.ask(server.question))
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    server.failure = None
    server.gate.set()
    assert await scout == "answer"
    assert waiter.cancelled()
