"""One act on many jobs: looked at first, then done, a few at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from operations.audit.recording import Actor
from operations.core.job_acts import Verb, way_of, why_not
from operations.desk import Desk
from operations.jobs.acts import Act, Asked, act
from operations.jobs.listing import Sought, every
from operations.stack.errors import StackError
from schemas.jobs import Job

AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """A job, and what would be done to it, or why nothing. ``job`` None: there is none of that id."""

    job_id: str
    job: Job | None
    does: bool
    words: str


@dataclass(frozen=True, slots=True)
class Came:
    """What came of one; ``act`` None: ``words`` say what went wrong."""

    job_id: str
    act: Act | None
    words: str


async def sought_jobs(desk: Desk, verb: Verb, sought: Sought, most: int) -> list[Chosen]:
    """The newest ``most`` of those sought."""
    return [_chosen(verb, job.job_id, job) async for job in every(desk, sought, most)]


async def named_jobs(desk: Desk, verb: Verb, job_ids: Iterable[str]) -> list[Chosen]:
    """Those of these ids, each once."""
    ids = list(dict.fromkeys(job_ids))
    return [_chosen(verb, job_id, await desk.database.jobs.job(job_id)) for job_id in ids]


def _chosen(verb: Verb, job_id: str, job: Job | None) -> Chosen:
    if job is None:
        return Chosen(job_id, None, does=False, words="There is no such job.")
    way = way_of(verb, job)
    return Chosen(job_id, job, does=way is not None, words=why_not(verb, job) if way is None else str(way))


async def on_each(desk: Desk, actor: Actor, verb: Verb, job_ids: Sequence[str], asked: Asked) -> AsyncIterator[Came]:
    """Do it to each; they come as they end. What goes wrong with one stops no other; ``Unavailable`` stops all."""
    room = asyncio.Semaphore(AT_A_TIME)

    async def one(job_id: str) -> Came:
        async with room:
            try:
                came = await act(desk, actor, verb, job_id, asked)
            except StackError as error:
                return Came(job_id, None, str(error))
        return Came(job_id, came, came.words)

    tasks = [asyncio.create_task(one(job_id)) for job_id in job_ids]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
