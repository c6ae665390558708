"""Lists for people who look, not for what decides: a document that can't be read is named and passed by."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from repo.core.documents import DamagedDocumentError, LeftOut, from_document
from repo.mongo_connection import Document
from repo.ports import AccountPage
from schemas.accounts import Account
from schemas.instants import from_datetime
from schemas.jobs import Job

Place = tuple[int, str]  # (created_at in ms, job_id)
_ABOVE_ALL_IDS = "\U0010ffff"
_ABOVE_ALL: Place = (2**63, "")
_BELOW_ALL: Place = (0, "")
log = structlog.get_logger()


async def sound_jobs(
    find: Callable[[Place | None], Awaitable[list[Document]]],
    before: Place | None,
    limit: int,
    damaged: LeftOut,
    *,
    oldest_first: bool = False,
) -> list[Job]:
    """The first ``limit`` that can be read, of what ``find`` has beyond a place, in its order, ``limit`` at a time.

    So a list that is shorter than its limit is at its end, whatever lies between. ``damaged`` is told of the others.
    """
    furthest = max if oldest_first else min
    jobs: list[Job] = []
    while True:
        found = await find(before)
        for document in found:
            job = _read(document, damaged)
            if job is not None:
                jobs.append(job)
        if len(jobs) >= limit or len(found) < limit:
            return jobs[:limit]
        places = [_last_place(found, oldest_first), *((job.created_at, job.job_id) for job in jobs[-1:])]
        if before is not None and furthest(*places, before) == before:  # each step goes further, or it is the last
            return jobs
        before = furthest(places)


def sound_accounts(found: list[Document], limit: int) -> AccountPage:
    """The first ``limit`` of these, by id; one more says that there are more."""
    accounts: list[Account] = []
    damaged: list[str] = []
    for document in found[:limit]:
        try:
            accounts.append(from_document(Account, document))
        except DamagedDocumentError:
            damaged.append(str(document["_id"]))
    last = found[limit - 1]["_id"] if len(found) > limit else None
    return AccountPage(tuple(accounts), last, tuple(damaged))


def told(error: DamagedDocumentError) -> None:
    """Into the log: an operator's list leaves this job out."""
    log.error("job can't be read and is left out: openv rebuild puts it as it was announced", job_id=error.document_id)


def _read(document: Document, damaged: LeftOut) -> Job | None:
    try:
        return from_document(Job, document)
    except DamagedDocumentError as error:
        damaged(error)
        return None


def _last_place(found: list[Document], oldest_first: bool) -> Place:
    """Of the last that has one. What has no time lies above or below all that have, and so with what is no job's id."""
    first_of_all, first_of_ids = (_BELOW_ALL, "") if oldest_first else (_ABOVE_ALL, _ABOVE_ALL_IDS)
    for document in reversed(found):
        at, job_id = document.get("createdAt"), document["_id"]
        if isinstance(at, datetime):
            return from_datetime(at), job_id if isinstance(job_id, str) else first_of_ids
    return first_of_all
