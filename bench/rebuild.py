"""What bringing a database back costs: a rebuild from the log, a backup, a restore, against bare loops."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.driver import Failed
from bench.figures import Figure
from bench.measurement import Measurement
from bench.rounds import by_turns
from bench.world import World
from operations.audit.recording import Actor
from operations.recovery.backup import backup
from operations.recovery.events import span
from operations.recovery.place import Place
from operations.recovery.rebuild import bring_up_to_date
from operations.recovery.restore import checked, store
from operations.recovery.verify import compare
from repo.core.documents import to_document
from repo.mongo import MongoDatabase
from schemas.codec import encode
from schemas.events import JobEvent
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from schemas.topics import EVENTS

HOW = """\
`openv.events` holds four events for each job. A rebuild reads them all and stores the newest document of each job in \
an empty database; the baseline, by turns, inserts the same documents into another empty one, 500 at a time, without \
reading or comparing anything. The comparison that follows a rebuild is measured alone. A backup stands against a loop \
that only reads the documents; a restore, the check of its file included, against the inserting loop. All in one \
process; the time that a rebuild waits for others to notice it is left out."""

Insert = Callable[[float], Awaitable[float]]

ACTOR = Actor("bench@here", "cli", "here")
THEN = 1_790_000_000_000
AT_ONCE = 500
UNDER_WAY = 200  # jobs at a time
VERSIONS = (State.QUEUED, State.PROCESSING, State.PROCESSING, State.COMPLETED)
REQUEST = GenerationRequest(prompt="a corgi surfing at sunset, cinematic light")


@dataclass(frozen=True)
class Size:
    rounds: int
    jobs: int


FULL = Size(rounds=3, jobs=2_000)
QUICK = Size(rounds=1, jobs=300)


async def run(world: World) -> Sequence[Figure]:
    """Four figures: rebuild, comparison, backup, restore."""
    size = QUICK if world.quick else FULL
    jobs = [_job(number) for number in range(size.jobs)]
    await _announce(world, jobs)
    documents = [to_document(job, job.job_id) for job in jobs]
    compared = list[float]()

    async def rebuild() -> float:
        async with _empty(world) as at:
            of = await span(world.log, EVENTS.name, None)
            began = time.perf_counter()
            stored, read, _ = await bring_up_to_date(at, of)
            took = time.perf_counter() - began
            if stored["jobs"] < len(jobs):
                raise Failed(f"{stored['jobs']} of {len(jobs)} documents were stored")
            began = time.perf_counter()
            found = await compare(at, of)
            compared.append(read / (time.perf_counter() - began))
            if found.different:
                raise Failed(f"{found.different} documents differ")
            return len(jobs) / took

    async def insert(_: float) -> float:
        async with _empty(world) as at:
            began = time.perf_counter()
            await _insert(at, documents)
            return len(jobs) / (time.perf_counter() - began)

    pairs = await by_turns(size.rounds, rebuild, insert)
    name = f"rebuild of {size.jobs:,} documents from {size.jobs * len(VERSIONS):,} events"
    return [
        Figure(
            name,
            "documents/s",
            tuple(one for one, _ in pairs),
            tuple(one for _, one in pairs),
        ),
        Figure("comparison after it", "events/s", tuple(compared)),
        *await _copies(world, size, documents, insert),
    ]


async def _copies(world: World, size: Size, documents: list[dict[str, object]], insert: Insert) -> list[Figure]:
    folder = world.folder.parent
    async with _empty(world) as at:
        await _insert(at, documents)

        async def copy() -> float:
            file = folder / f"{uuid.uuid4().hex}.gz"
            began = time.perf_counter()
            await backup(at, ACTOR, file)
            took = time.perf_counter() - began
            file.unlink()
            return len(documents) / took

        async def only_read(_: float) -> float:
            began = time.perf_counter()
            count = sum([len(batch) async for batch in at.database.copies.read("jobs", AT_ONCE)])
            return count / (time.perf_counter() - began)

        backups = await by_turns(size.rounds, copy, only_read)
        file = folder / "restored.gz"
        await backup(at, ACTOR, file)
    restores = await by_turns(size.rounds, lambda: _restored(world, file, len(documents)), insert)
    return [
        Figure("backup", "documents/s", tuple(one for one, _ in backups), tuple(one for _, one in backups)),
        Figure("restore", "documents/s", tuple(one for one, _ in restores), tuple(one for _, one in restores)),
    ]


async def _restored(world: World, file: Path, count: int) -> float:
    async with _empty(world) as at:
        began = time.perf_counter()
        await store(at.database.copies, file, await checked(file))
        return count / (time.perf_counter() - began)


@asynccontextmanager
async def _empty(world: World) -> AsyncIterator[Place]:
    """A database of its own, with its indexes; emptied at the end, because the stand-in keeps all in one file."""
    settings = world.settings.model_copy(update={"mongodb_database": f"rebuild_{uuid.uuid4().hex[:12]}"})
    async with MongoDatabase(settings, timeout_s=60, guarded=False) as database:
        await database.prepare()
        yield Place(world.log, database, settings.mongodb_database)
        await database.copies.clear("jobs")


async def _insert(at: Place, documents: Sequence[dict[str, object]]) -> None:
    jobs = at.database.connection.collection("jobs")
    for first in range(0, len(documents), AT_ONCE):
        await jobs.insert_many(documents[first : first + AT_ONCE], ordered=False)


async def _announce(world: World, jobs: Sequence[Job]) -> None:
    """As the ledger would: what is told of a job lies among what is told of those that are under way with it."""
    for first in range(0, len(jobs), UNDER_WAY):
        for version, state in enumerate(VERSIONS, 1):
            some = [
                replace(job, version=version, state=state, updated_at=THEN + version)
                for job in jobs[first : first + UNDER_WAY]
            ]
            await world.log.append_all([encode(JobEvent(one), source="/bench", at=THEN) for one in some])


def _job(number: int) -> Job:
    return Job(
        job_id=str(uuid.UUID(int=number + 1)),
        user_id=f"user-{number % 100}",
        pool=REQUEST.model,
        state=VERSIONS[-1],
        version=len(VERSIONS),
        request=REQUEST,
        request_hash="0" * 32,
        charge=Charge(state=ChargeState.CAPTURED, seconds=REQUEST.seconds, reserved_at=THEN),
        created_at=THEN,
        updated_at=THEN + len(VERSIONS),
        due_at=THEN,
        expires_at=THEN + 86_400_000,
        execution_timeout_ms=3_600_000,
        worker_id="w",
    )


MEASUREMENT = Measurement("rebuild", "Bringing a database back", HOW, run)
