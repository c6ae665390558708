"""``python -m tests.outages.mongo_five_minutes FOLDER``: MongoDB frozen for five minutes, timings as in production.

Its own servers, two streams processes, a gateway. Nearly all of the time it sleeps. Writes ``verdict.json``.
"""

import asyncio
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from operations.stack.mongo_probe import server_pid_at
from operations.stack.servers import EmbeddedServers
from repo.topic_admin import TopicAdmin
from streams.settings import StreamsSettings
from tests.outages.mongo_story import Away, lived_through
from tests.outages.mongo_world import World
from tests.servers import settings_of
from tests.streams.streams_process import QUICK

AWAY_S = float(os.environ.get("OPENV_TEST_AWAY_SECONDS", "300"))
LOOK_EVERY_S = 30.0


def production() -> dict[str, str]:
    """The streams' own timings, in place of the tests' quick ones."""
    fields = StreamsSettings.model_fields
    return {name: str(fields[name.lower()].default) for name in QUICK if name.lower() in fields}


async def run(folder: Path) -> None:
    """All of it. Raises AssertionError."""
    async with EmbeddedServers(folder / "data") as environment:
        async with TopicAdmin(settings_of(environment)) as admin:
            await admin.apply()
        async with World(environment, folder, production()) as world:
            database = await server_pid_at(*world.address)
            assert database is not None

            async def freeze() -> None:
                os.kill(database, signal.SIGSTOP)

            async def thaw() -> None:
                os.kill(database, signal.SIGCONT)

            figures = await lived_through(world, Away(freeze, thaw, AWAY_S, LOOK_EVERY_S), with_a_death=True)
            for one in (*world.streams, world.gateway):
                assert await one.terminate(within_s=15) == 0, one.words()
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    verdict = {"seconds": AWAY_S, "cpu_s": round(used, 1), **asdict(figures)}
    (folder / "verdict.json").write_text(json.dumps(verdict))


async def _main(folder: Path) -> None:
    task = asyncio.create_task(run(folder))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
