"""Which objects of the bucket belong to nothing any more. Pure: keys and documents in, a judgement out.

What is not understood is left alone: keys that are not of our form, objects under another user than their job's, jobs
whose documents can't be read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from repo.core.object_keys import INPUTS, Place, place_of
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from streams.core.forgetting import LEAST_MS
from streams.core.shown_files import shown

# More of the objects than this belong to no job at all: it is the documents that are missing, not the jobs.
LOST_SHARE = 0.5
MADE_SLACK_MS = 60_000  # the object store's clock is another, and counts seconds
PROBES = "_openv/doctor/"  # no user's folder: ids begin with a letter or digit
FEW = 20


class Stray(StrEnum):
    FOREIGN = "foreign"  # not ours to judge
    OF_DELETED = "of deleted jobs"
    OF_ATTEMPTS = "of attempts that did not count"
    OF_NO_JOB = "of no job"
    OF_BEFORE = "of no job, from before this database was made or rebuilt"
    OF_PROBES = "left by a doctor that died"


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a store: its key, when it was written (ms), its size."""

    key: str
    at: int
    bytes: int


def job_of(found: Found) -> str | None:
    """The job that an object names."""
    place = place_of(found.key)
    return place.job_id if place else None


def judge(found: Found, jobs: Mapping[str, Job | None], now: int, older_than_ms: int, made_at: int = 0) -> Stray | None:
    """What kind of stray it is; None where it belongs, or is too young to tell.

    ``jobs``: those that there are, None for one that can't be read. An object of no job may be of one whose submission
    is still to be decided, or is set aside: it is one only when it is older than any record that may name it.
    ``made_at``: since when the database is what it is (ms). What is older than that may be of a job that a backup has
    and the database lacks.
    """
    place = place_of(found.key)
    if found.key.startswith(PROBES):
        return Stray.OF_PROBES if found.at <= now - older_than_ms else None
    if place is None:
        return Stray.FOREIGN
    if place.job_id not in jobs:
        if found.at > now - max(older_than_ms, LEAST_MS):
            return None
        return Stray.OF_BEFORE if found.at < made_at - MADE_SLACK_MS else Stray.OF_NO_JOB
    job = jobs[place.job_id]
    if job is None or job.user_id != place.user_id:
        return Stray.FOREIGN
    if found.at > now - older_than_ms or job.updated_at > now - older_than_ms or job.state in ACTIVE:
        return None
    if job.state is State.DELETED:
        return Stray.OF_DELETED
    return Stray.OF_ATTEMPTS if _is_unused(place, found.key, job) else None


def _is_unused(place: Place, key: str, job: Job) -> bool:
    """A file that an attempt stored and the document does not show. What a client gave stays as long as its job.

    Of whichever store: two may be one bucket by two names, and then the second copy of a video is the first.
    """
    return place.folder != INPUTS and key not in {shown_key for _, shown_key in shown(job.output)}


def looks_lost(of_no_job: int, looked_at: int) -> bool:
    """Whether so many objects name no job that the database is not the one that they were made with."""
    return of_no_job > FEW and of_no_job > looked_at * LOST_SHARE


def missing_files(jobs: Iterable[Job], there: Mapping[str | None, frozenset[str]]) -> list[str]:
    """Completed jobs that show a file which is in none of the stores that were looked through. ``there``: all keys of
    each store that was looked through to its end."""
    return [
        job.job_id
        for job in jobs
        if job.state is State.COMPLETED
        and any(store in there and key not in there[store] for store, key in shown(job.output))
    ]
