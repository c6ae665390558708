"""So many trips through Kafka one after the other, again and again, by a bare client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench import bare
from bench.driver import Answer, serve
from bench.loads import closed_loop
from repo.settings import ServerSettings

TOPIC = "bench.trips"
VALUE = b"x" * 800


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the Kafka of the environment."""
    settings = ServerSettings()
    async with (
        bare.topics(settings, TOPIC),
        bare.producer(settings) as sender,
        bare.Trips(settings, TOPIC, sender).running() as there,
    ):

        async def answer(trips: int, count: int) -> dict[str, Any]:
            async def request(_client: int, _number: int) -> None:
                for _ in range(trips):
                    await there.go(VALUE)

            return await closed_loop(1, count, request)

        yield answer


if __name__ == "__main__":
    serve(answering)
