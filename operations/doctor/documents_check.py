"""Documents beside the jobs that belong to none, those that nobody can read, and what is known of deleted persons."""

from collections.abc import Sequence

from operations.core.findings import Finding, Mends, first, ok, problem
from operations.core.strays import looks_lost
from operations.doctor.damaged_documents import damaged
from operations.doctor.surroundings import PAGE, Surroundings
from repo.mongo_inspection import OF_JOBS, MongoInspection, OfJob
from schemas.jobs import Job
from schemas.lifecycle import State

CHECK = "documents"
PERSONS_MOST = 1_000


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    mongo = around.mongo
    found = await damaged(around)
    for collection in OF_JOBS:
        strays, looked_at = await _strays(around, mongo, collection)
        if strays:
            found.append(judged(collection, strays, looked_at))
    known = await mongo.told_of_deleted(PERSONS_MOST)
    if known:
        what = f"{len(known)} deleted persons are still described: {first(known)}"
        why = "what was said of them was to be forgotten"
        found.append(problem(CHECK, what, why, f"openv users delete {known[0]}"))
    return found or [ok(CHECK, f"all can be read, and all of {', '.join(OF_JOBS)} belong to jobs")]


def judged(collection: str, strays: Sequence[OfJob], looked_at: int) -> Finding:
    """What they come to. Where so many are, it is the jobs that are missing."""
    what = f"{len(strays)} in {collection} are of no job: {first(one.job_id for one in strays)}"
    if looks_lost(len(strays), looked_at):
        why = "so many that it is the jobs which are missing: nothing is deleted here"
        return problem(CHECK, what, why, "openv rebuild --verify")
    if collection == "remote_runs":
        return problem(CHECK, what, "a run on a foreign service that nobody follows", "openv workers list")
    mend = "openv doctor --repair --only documents"
    targets = sorted({one.job_id for one in strays})
    return problem(CHECK, what, "nobody reads them; they cost room", mend, repair=Mends.DOCUMENTS, targets=targets)


async def _strays(around: Surroundings, mongo: MongoInspection, collection: str) -> tuple[list[OfJob], int]:
    """And how many were looked at."""
    strays: list[OfJob] = []
    after, looked_at = "", 0
    while looked_at < around.most:
        page = await mongo.of_jobs(collection, after, PAGE)
        known = await around.desk.database.upkeep.known_jobs({one.job_id for one in page})
        strays += [one for one in page if _is_stray(known.get(one.job_id), one.job_id in known, around)]
        looked_at += len(page)
        if len(page) < PAGE:
            break
        after = page[-1].document_id
    return strays, looked_at


def _is_stray(job: Job | None, known: bool, around: Surroundings) -> bool:
    """Of no job, or of one that was deleted a while ago. What can't be read is left alone."""
    if not known:
        return True
    return job is not None and job.state is State.DELETED and job.updated_at < around.now() - around.older_than_ms
