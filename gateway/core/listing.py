"""The query of ``GET /api/videos``: what to list, from where, how much; and the link to the next page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.ids import is_job_id
from schemas.instants import from_datetime
from schemas.jobs import Job
from schemas.lifecycle import State

LIMIT_MAX = 500
LIMIT_DEFAULT = 100
MS_MAX = 253_402_300_799_999  # the end of the year 9999

VISIBLE = tuple(state for state in State if state not in {State.REJECTED, State.DELETED})


@dataclass(frozen=True, slots=True)
class Listing:
    """``updated_since`` in ms, exclusive; ``before`` is the (created_at, job_id) that the page sorts after."""

    updated_since: int | None
    before: tuple[int, str] | None
    limit: int
    states: tuple[State, ...]


@dataclass(frozen=True, slots=True)
class BadQuery:
    """What is wrong with the query, in words for its author."""

    reason: str


def listing(query: Mapping[str, str]) -> Listing | BadQuery:
    """Read the query. Deleted jobs are listed (as tombstones) only with ``deleted=true``: OpenV's clients don't know
    that status, ours need it to drop rows while they poll with ``updatedSince``. A ``status`` is refused: OpenV has no
    such filter, and a list that ignored it would look like its answer. Other unknown parameters are ignored."""
    since: int | None = None
    if "updatedSince" in query:
        since = read_instant(query["updatedSince"])
        if since is None:
            return BadQuery("Invalid updatedSince: milliseconds since 1970 or ISO 8601")
    before: tuple[int, str] | None = None
    if "before" in query:
        before = _read_place(query["before"])
        if before is None:
            return BadQuery("Invalid before: take it from the Link header of the previous page")
    text = query.get("limit", str(LIMIT_DEFAULT))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= LIMIT_MAX):
        return BadQuery(f"Invalid limit: a whole number from 1 to {LIMIT_MAX}")
    deleted = query.get("deleted", "false")
    if deleted not in {"true", "false"}:
        return BadQuery("Invalid deleted: true or false")
    if "status" in query:
        return BadQuery("Invalid status: the list is not narrowed by status; pick by each row's own")
    states = (*VISIBLE, State.DELETED) if deleted == "true" else VISIBLE
    return Listing(since, before, int(text), states)


def read_instant(text: str) -> int | None:
    """Milliseconds since the epoch from digits or ISO 8601 text (UTC where it names no zone); None if neither."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= 15 and int(text) <= MS_MAX else None
    try:
        # A "+" in a query string that was not escaped arrives as a space.
        return from_datetime(datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text))
    except (ValueError, OverflowError):
        return None


def place(job: Job) -> str:
    """The ``before`` that pages on after this job."""
    return f"{job.created_at}.{job.job_id}"


def _read_place(text: str) -> tuple[int, str] | None:
    created, _, job_id = text.partition(".")
    if created.isascii() and created.isdigit() and len(created) <= 15 and is_job_id(job_id):
        return int(created), job_id
    return None
