"""Jobs for workers without a model: how long each lasts travels as its seed."""

import random
from collections.abc import Sequence
from uuid import uuid4

from bench.world import World
from repo.clock import now_ms
from schemas.codec import encode
from schemas.commands import SubmitJob
from schemas.requests import MODEL, GenerationRequest

SOURCE = "/bench"
SHORTEST_MS, LONGEST_MS = 100, 3_000


def mixed(count: int, seed: int) -> list[int]:
    """Durations in ms, many short and few long (log-uniform), as requests are."""
    chance = random.Random(seed)  # noqa: S311 -- the same mixture every time
    return [round(SHORTEST_MS * (LONGEST_MS / SHORTEST_MS) ** chance.random()) for _ in range(count)]


async def enqueue(world: World, durations_ms: Sequence[int], users: int) -> None:
    """Submit one job for each, the users by turns."""
    commands = [
        SubmitJob(
            command_id=str(uuid4()),
            user_id=f"queue-{number % users}",
            job_id=str(uuid4()),
            pool=MODEL,
            request=GenerationRequest(prompt="a corgi surfing at sunset", num_frames=7, seed=duration),
            request_hash="0" * 32,
            append_by=now_ms() + 3_600_000,
        )
        for number, duration in enumerate(durations_ms)
    ]
    await world.log.append_all([encode(command, source=SOURCE, at=now_ms()) for command in commands])
