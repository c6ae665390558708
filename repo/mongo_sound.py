"""Lists for people who look into what went wrong: a document that can't be read is named and passed by."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from repo.core.documents import DamagedDocumentError, from_document
from repo.mongo_connection import Document
from repo.ports import AccountPage
from schemas.accounts import Account
from schemas.instants import from_datetime
from schemas.jobs import Job

Place = tuple[int, str]  # (created_at in ms, job_id)
_ABOVE_ALL_IDS = "\U0010ffff"
_ABOVE_ALL: Place = (2**63, "")
log = structlog.get_logger()


async def sound_jobs(
    find: Callable[[Place | None], Awaitable[list[Document]]], before: Place | None, limit: int
) -> list[Job]:
    """The first ``limit`` that can be read, of what ``find`` has below a place, newest first, ``limit`` at a time.

    So a list that is shorter than its limit is at its end, whatever lies between.
    """
    jobs: list[Job] = []
    while True:
        found = await find(before)
        for document in found:
            job = _read(document)
            if job is not None:
                jobs.append(job)
        if len(jobs) >= limit or len(found) < limit:
            return jobs[:limit]
        places = [_last_place(found), *((job.created_at, job.job_id) for job in jobs[-1:])]
        if before is not None and min(places) >= before:  # each step goes further down, or it is the last
            return jobs
        before = min(places)


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


def _read(document: Document) -> Job | None:
    try:
        return from_document(Job, document)
    except DamagedDocumentError:
        log.error(
            "job can't be read and is left out: openv rebuild puts it as it was announced", job_id=str(document["_id"])
        )
        return None


def _last_place(found: list[Document]) -> Place:
    """Of the last that has one. What has no time lies above or below all that have, and so with what is no job's id."""
    for document in reversed(found):
        at, job_id = document.get("createdAt"), document["_id"]
        if isinstance(at, datetime):
            return from_datetime(at), job_id if isinstance(job_id, str) else _ABOVE_ALL_IDS
    return _ABOVE_ALL
