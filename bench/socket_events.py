"""The process of ``sockets.py``: appends events, and receives them through sockets or through a bare consumer."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count as counting
from typing import Any

from aiokafka import AIOKafkaProducer

from bench import bare
from bench.announcements import event_of, job_of
from bench.driver import Answer, serve
from bench.loads import closed_loop
from bench.subscriber import Subscriber, subscribed
from repo.settings import ServerSettings

TOPIC = "bench.events"


class Person:
    """A user with one job, whose versions are announced one after the other, and one socket."""

    def __init__(self, user_id: str, subscriber: Subscriber) -> None:
        self._job = job_of(user_id, 0)
        self._versions = counting(1)
        self._subscriber = subscriber

    async def hears(self, sender: AIOKafkaProducer) -> None:
        """One event: in the log, acknowledged, and on the socket."""
        event = event_of(self._job, next(self._versions))
        acknowledged = await sender.send(event.topic, event.value, key=event.key, headers=list(event.headers))
        await acknowledged
        await self._subscriber.event()

    def bytes(self) -> bytes:
        """The value of such an event."""
        return event_of(self._job, 2).value


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Everybody of ``BENCH_USERS`` has subscribed at the gateway of ``BENCH_PORT``."""
    settings = ServerSettings()
    url = f"ws://127.0.0.1:{os.environ['BENCH_PORT']}/ws"
    pairs = [pair.partition("=")[::2] for pair in os.environ["BENCH_USERS"].split()]
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(bare.producer(settings))
        people = [Person(user, await stack.enter_async_context(subscribed(url, key))) for user, key in pairs]
        await stack.enter_async_context(bare.topics(settings, TOPIC))
        trips = await stack.enter_async_context(bare.Trips(settings, TOPIC, sender).running())
        value = people[0].bytes()

        async def answer(of: str, clients: int, count: int) -> dict[str, Any]:
            async def by_socket(client: int, _number: int) -> None:
                await people[client].hears(sender)

            async def by_consumer(_client: int, _number: int) -> None:
                await trips.go(value)

            return await closed_loop(clients, count, by_socket if of == "sockets" else by_consumer)

        yield answer


if __name__ == "__main__":
    serve(answering)
