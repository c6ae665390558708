"""What polling costs: ``GET /api/videos?updatedSince=`` for a user with many videos of which few have changed."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from uuid import UUID

import httpx

from bench.driver import Failed
from bench.figures import Aim, Figure
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.world import World
from gateway.identity.keys import new_key
from repo.clock import now_ms
from repo.core.documents import to_document
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest

HOW = """\
A client asks one gateway again and again what changed since an instant, over one connection. The user has 10,000 \
videos, of which 1, 10 or 100 have changed; once the database holds nothing else, once 10,000 videos of 500 others \
too. The baseline, by turns: the same question by a user whose only videos are those that changed, to a gateway on a \
database that holds nothing else. So a ratio of 1 means that neither the user's unchanged videos nor anybody else's \
cost anything. On the embedded stand-in for MongoDB, whose plain indexes lead nowhere, both do."""


@dataclass(frozen=True)
class Size:
    rounds: int
    requests: int  # a round
    videos: int  # of the user who asks
    others: tuple[int, ...]  # of everybody else, in a database each
    changed: tuple[int, ...]


FULL = Size(rounds=5, requests=3, videos=10_000, others=(0, 10_000), changed=(1, 10, 100))
QUICK = Size(rounds=1, requests=2, videos=200, others=(300,), changed=(1, 10))
OWNERS = 500  # of the others' videos
BATCH = 2_000
THEN = 1_790_000_000_000
SINCE = THEN + 86_400_000
REQUEST = GenerationRequest(prompt="a corgi surfing at sunset, cinematic light")


@dataclass(frozen=True)
class Poller:
    """A user of one gateway, who has ``in_all`` videos; the newest changes are one a millisecond after ``SINCE``."""

    client: httpx.AsyncClient
    key: str
    in_all: int

    async def ask(self, changed: int, requests: int) -> float:
        """Milliseconds a question: the median. Raises ``Failed`` where the answer is not what changed."""
        since = SINCE + min(max(FULL.changed), self.in_all) - changed
        took: list[float] = []
        for _ in range(requests):
            began = time.perf_counter()
            answer = await self.client.get(
                "/api/videos", params={"updatedSince": since}, headers={"Authorization": f"Bearer {self.key}"}
            )
            took.append((time.perf_counter() - began) * 1000)
            rows = answer.json() if answer.is_success else []
            if len(rows) != changed:
                raise Failed(f"the list was answered with {answer.status_code} and {len(rows)} rows")
        return median(took)


async def run(world: World) -> Sequence[Figure]:
    """A figure for each number of changed videos in each database."""
    size = QUICK if world.quick else FULL
    figures: list[Figure] = []
    async with _gateway(world, size.changed, 0) as bare:
        for others in size.others:
            who = f"{others:,} of others" if others else "nobody else's"
            async with _gateway(world, (size.videos,), others) as pollers:
                ours = pollers[size.videos]
                figures += [await _figure(size, changed, who, ours, bare[changed]) for changed in size.changed]
    return figures


async def _figure(size: Size, changed: int, who: str, ours: Poller, base: Poller) -> Figure:
    await _warmed_up(ours, changed)
    await _warmed_up(base, changed)
    pairs = await by_turns(
        size.rounds, lambda: ours.ask(changed, size.requests), lambda _: base.ask(changed, size.requests)
    )
    name = f"{changed} of {size.videos:,} changed, {who}"
    return Figure(
        name, "ms", tuple(one for one, _ in pairs), tuple(one for _, one in pairs), Aim("ratio", "at most", 2)
    )


async def _warmed_up(poller: Poller, changed: int) -> None:
    """Connections are open and code is compiled. The first look at a large database may take too long for it."""
    for tries_left in (2, 1, 0):
        try:
            await poller.ask(changed, 2)
            return
        except Failed:
            if not tries_left:
                raise


@asynccontextmanager
async def _gateway(world: World, users: Sequence[int], others: int) -> AsyncIterator[dict[int, Poller]]:
    """A gateway on a database of its own: a user with each of these numbers of videos, and the videos of others."""
    database = f"listing_{sum(users)}_{others}_{now_ms()}"
    keys = await _fill(world.settings.model_copy(update={"mongodb_database": database}), users, others)
    async with (
        world.gateway(MONGODB_DATABASE=database) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client,
    ):
        yield {videos: Poller(client, key, videos) for videos, key in keys.items()}


async def _fill(settings: ServerSettings, users: Sequence[int], others: int) -> dict[int, str]:
    """The documents, as the store writes them, and the users' keys.

    What changed lies far back in the list: old videos that were made again or deleted.
    """
    keys: dict[int, str] = {}
    async with MongoDatabase(settings, timeout_s=30) as database:
        await database.prepare()
        await _store(database, [_video(f"other-{at % OWNERS}", at, changed=at % 3 == 0) for at in range(others)])
        for videos in users:
            user = f"poller-{videos}"
            keys[videos], key = new_key(user, now=now_ms())
            await database.access.store_api_key(key)
            changed = min(max(FULL.changed), videos)
            await _store(database, [_video(user, at, changed=at < changed) for at in range(videos)])
    return keys


async def _store(database: MongoDatabase, videos: Sequence[Job]) -> None:
    documents = [to_document(video, video.job_id) for video in videos]
    jobs = database.connection.collection("jobs")
    for first in range(0, len(documents), BATCH):
        await jobs.insert_many(documents[first : first + BATCH], ordered=False)


def _video(user: str, at: int, *, changed: bool) -> Job:
    created = THEN + at * 1000
    return Job(
        job_id=_id_of(user, at),
        user_id=user,
        pool=REQUEST.model,
        state=State.COMPLETED,
        version=3,
        request=REQUEST,
        request_hash="0" * 32,
        charge=Charge(state=ChargeState.CAPTURED, seconds=REQUEST.seconds, reserved_at=created),
        created_at=created,
        updated_at=SINCE + 1 + at if changed else min(created + 500, SINCE),
        due_at=created,
        expires_at=created + 86_400_000,
        execution_timeout_ms=3_600_000,
        worker_id="w",
        started_at=created + 1,
        finished_at=created + 500,
        winning_attempt=1,
    )


def _id_of(user: str, at: int) -> str:
    """The same in every run, so that what is compared is."""
    return str(UUID(bytes=f"{user:.11}".encode().ljust(12, b"-") + at.to_bytes(4)))


MEASUREMENT = Measurement("listing", "Polling the list of videos", HOW, run)
