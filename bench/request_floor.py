"""The least that a decision takes: two trips through Kafka, one document read, one compare-and-set. Nothing decided."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from bench import bare
from bench.driver import Answer, Failed, serve
from bench.loads import closed_loop
from repo.settings import ServerSettings

COMMAND, ANSWER = "bench.command", "bench.answer"
# The sizes of a submission, of what is announced of it, and of its document.
COMMAND_BYTES, ANSWER_BYTES, DOCUMENT_BYTES = 600, 1_200, 1_000


@asynccontextmanager
async def answering() -> AsyncIterator[Answer]:
    """Connected to the servers of the environment."""
    settings = ServerSettings()
    mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        settings.mongodb_uri, retryWrites=False, w="majority", journal=True
    )
    documents = mongo["bench_floor"]["jobs"]
    versions: dict[str, int] = {}
    filling = "x" * DOCUMENT_BYTES
    async with (
        bare.topics(settings, COMMAND, ANSWER),
        bare.producer(settings) as sender,
        bare.Trips(settings, COMMAND, sender).running() as there,
        bare.Trips(settings, ANSWER, sender).running() as back,
    ):

        async def answer(clients: int, count: int) -> dict[str, Any]:
            for client in range(clients):
                if (name := str(client)) not in versions:
                    await documents.insert_one({"_id": name, "version": 0, "filling": filling})
                    versions[name] = 0

            async def request(client: int, _number: int) -> None:
                name = str(client)
                await there.go(b"x" * COMMAND_BYTES)
                found = await documents.find_one({"_id": name})
                version = versions[name]
                if found is None or found["version"] != version:
                    raise Failed("the floor's document is not what was written")
                newer = {"_id": name, "version": version + 1, "filling": filling}
                replaced = await documents.replace_one({"_id": name, "version": version}, newer)
                versions[name] += replaced.matched_count
                await back.go(b"x" * ANSWER_BYTES)

            return await closed_loop(clients, count, request)

        yield answer
    mongo.close()


if __name__ == "__main__":
    serve(answering)
