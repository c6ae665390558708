"""The query of ``GET /api/videos``: what to list, from where, how much, in which form; and the next page's cursor."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from schemas.api.runpod import SYNC_PREFIX
from schemas.ids import is_job_id
from schemas.instants import LAST, from_datetime
from schemas.jobs import Job
from schemas.lifecycle import OPENV_STATUS, State

LIMIT_MAX = 500
LIMIT_DEFAULT = 100  # of a page that is asked for by its cursor alone

VISIBLE = tuple(state for state in State if state not in {State.REJECTED, State.DELETED})
# What ``status=`` may say: OpenV's words, which gather several states, and the states that it has no word for.
STATES_OF: Mapping[str, tuple[State, ...]] = MappingProxyType(
    {state.value: (state,) for state in VISIBLE}
    | {word: tuple(s for s in VISIBLE if OPENV_STATUS[s] == word) for word in {OPENV_STATUS[s] for s in VISIBLE}}
)


class Form(StrEnum):
    """How the rows come: OpenV's first web client read a bare array, its later one an object."""

    ARRAY = "array"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Listing:
    """``updated_since`` in ms, exclusive; ``before`` is the (created_at, job_id) that the page sorts after; ``limit``
    None: all that there is; ``form`` None: the deployment's."""

    updated_since: int | None
    before: tuple[int, str] | None
    limit: int | None
    states: tuple[State, ...]
    form: Form | None = None


@dataclass(frozen=True, slots=True)
class BadQuery:
    """What is wrong with the query, in words for its author."""

    reason: str


def listing(query: Mapping[str, str]) -> Listing | BadQuery:
    """Read the query; parameters that are unknown are ignored.

    Deleted jobs are listed (as tombstones) only with ``deleted=true``: OpenV's clients don't know that status, ours
    need it to drop rows while they poll with ``updatedSince``. Without ``limit`` and ``before`` there is no page: OpenV
    listed everything, and its clients ask for no more.
    """
    since = read_instant(query["updatedSince"]) if query.get("updatedSince") else None
    if since is None and query.get("updatedSince"):
        return BadQuery("Invalid updatedSince parameter")
    before = _read_place(query["before"]) if "before" in query else None
    if before is None and "before" in query:
        return BadQuery("Invalid before: take it from the Link header or nextCursor of the previous page")
    limit = _read_limit(query.get("limit"), LIMIT_DEFAULT if "before" in query else None)
    if isinstance(limit, BadQuery):
        return limit
    deleted = query.get("deleted", "false")
    if deleted not in {"true", "false"}:
        return BadQuery("Invalid deleted: true or false")
    states = _read_states(query.get("status"))
    if isinstance(states, BadQuery):
        return states
    form = query.get("format")
    if form is not None and form not in set(Form):
        return BadQuery("Invalid format: array or object")
    everything = (*states, State.DELETED) if deleted == "true" else states
    return Listing(since, before, limit, everything, Form(form) if form is not None else None)


def _read_limit(text: str | None, default: int | None) -> int | BadQuery | None:
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= LIMIT_MAX:
        return int(text)
    return BadQuery(f"Invalid limit: a whole number from 1 to {LIMIT_MAX}")


def _read_states(text: str | None) -> tuple[State, ...] | BadQuery:
    if not text:
        return VISIBLE
    words = [word.strip().lower() for word in text.split(",")[: len(STATES_OF) + 1]]
    if len(words) > len(STATES_OF) or not STATES_OF.keys() >= set(words):
        return BadQuery(f"Invalid status: one or more of {', '.join(STATES_OF)}, with commas between")
    wanted = {state for word in words for state in STATES_OF[word]}
    return tuple(state for state in VISIBLE if state in wanted)


def read_instant(text: str) -> int | None:
    """Milliseconds since the epoch from digits or ISO 8601 text (UTC where it names no zone); None if neither."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= 15 and int(text) <= LAST else None
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
    is_id = is_job_id(job_id.removeprefix(SYNC_PREFIX))
    if created.isascii() and created.isdigit() and len(created) <= 15 and is_id:
        return int(created), job_id
    return None
