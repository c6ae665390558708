"""``/audit``: who did what. Read only: no route of this API changes or deletes an entry."""

from typing import Annotated

from pydantic import Field

from operations.admin.answers import AuditPage, AuditRow
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation
from operations.admin.refusals import Problem, Refused
from operations.audit.trail import page
from operations.core.audit_trail import Sought, instant_of
from schemas.shape import to_plain

Words = Annotated[str, Field(min_length=1, max_length=200)]


class Wanted(Asked):
    """Which entries: ``action`` may hold ``*``; times are RFC 3339, or so long ago (``15m``, ``2h``, ``7d``)."""

    actor: Words | None = None
    action: Words | None = None
    target: Words | None = None
    since: Words | None = None
    until: Words | None = None
    limit: int = Field(default=50, ge=1, le=200)
    before: int | None = Field(default=None, ge=0, le=2**53)


async def list_audit(call: Call[Wanted, Nothing]) -> Answer:
    asked = call.query
    sought = Sought(
        actor=asked.actor,
        action=asked.action,
        target=asked.target,
        since=_instant(call, "since", asked.since),
        until=_instant(call, "until", asked.until),
    )
    trail = await page(call.desk.log, sought, limit=asked.limit, before=asked.before)
    rows = tuple(AuditRow(offset=one.offset, entry=one.entry) for one in trail.entries)
    return Answer(to_plain(AuditPage(entries=rows, before=trail.before)))


def _instant(call: Call[Wanted, Nothing], member: str, text: str | None) -> int | None:
    at = None if text is None else instant_of(text, call.tools.now())
    if text is not None and at is None:
        words = "a time like 15m, 2h, 7d, or 2026-11-21T09:00:00Z"
        raise Refused(Problem.INVALID, details=[{"in": "query", "member": member, "message": words}])
    return at


OPERATIONS = (
    Operation(
        method="get",
        path="/audit",
        name="listAudit",
        tag="Audit",
        summary="Who did what from where, newest first",
        words="Each action has two entries: `begun`, and how it ended. An action without an end died midway.",
        query=Wanted,
        reply=AuditPage,
        handler=list_audit,
    ),
)
