"""``openv jobs list``: anybody's jobs, newest first, page by page."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from operations.core.audit_trail import instant_of
from operations.desk import Desk
from operations.stack.errors import StackError
from schemas.failures import FailureCode
from schemas.jobs import Job
from schemas.lifecycle import State

PAGE = 200
_CURSOR = re.compile(r"([0-9]{1,15}):([A-Za-z0-9][A-Za-z0-9_-]{0,127})")


@dataclass(frozen=True, slots=True)
class Sought:
    """Which jobs; what is None or empty does not matter. ``since``: created then or later, ms."""

    user: str | None = None
    states: tuple[State, ...] = ()
    pool: str | None = None
    endpoint: str | None = None
    code: FailureCode | None = None
    since: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Sought()


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first; ``after``: the cursor of the next page, None where this is the last."""

    jobs: tuple[Job, ...]
    after: str | None


def sought_of(
    user: str | None,
    states: tuple[str, ...],
    pool: str | None,
    endpoint: str | None,
    code: str | None,
    since: str | None,
    now: int,
) -> Sought:
    """What was written, as it is meant: ``since`` so long ago (``2h``) or RFC 3339. Raises ``StackError``."""
    unknown = [state for state in states if state not in set(State)]
    if unknown:
        raise StackError(f"There is no state {unknown[0]}: a job is {', '.join(State)}.")
    if code is not None and code not in set(FailureCode):
        raise StackError(f"There is no code {code}: it is one of {', '.join(FailureCode)}.")
    at = None if since is None else instant_of(since, now)
    if since is not None and at is None:
        raise StackError("Say --since as so long ago (30m, 2h, 7d), or as a time (2026-11-22T09:00:00Z).")
    return Sought(
        user,
        tuple(State(state) for state in states),
        pool,
        endpoint,
        None if code is None else FailureCode(code),
        at,
    )


async def page(desk: Desk, sought: Sought, *, limit: int, after: str | None = None) -> Page:
    """One page. Raises ``StackError`` for a cursor that is none of ours, ``Unavailable``."""
    before = None
    if after is not None:
        cursor = _CURSOR.fullmatch(after)
        if cursor is None:
            raise StackError("--after takes what the page before ended with.")
        before = (int(cursor[1]), cursor[2])
    found = await _ask(desk, sought, before, limit + 1)
    jobs, more = found[:limit], len(found) > limit
    return Page(tuple(jobs), f"{jobs[-1].created_at}:{jobs[-1].job_id}" if more and jobs else None)


async def every(desk: Desk, sought: Sought, most: int) -> AsyncIterator[Job]:
    """The newest ``most`` of them, read page by page."""
    before: tuple[int, str] | None = None
    while most > 0:
        found = await _ask(desk, sought, before, min(PAGE, most))
        for job in found:
            yield job
        if len(found) < min(PAGE, most):
            return
        most -= len(found)
        before = found[-1].created_at, found[-1].job_id


async def _ask(desk: Desk, sought: Sought, before: tuple[int, str] | None, limit: int) -> list[Job]:
    return await desk.database.jobs.find_jobs(
        user_id=sought.user,
        states=sought.states or None,
        pool=sought.pool,
        endpoint_id=sought.endpoint,
        failed_with=sought.code,
        created_since=sought.since,
        before=before,
        limit=limit,
    )
