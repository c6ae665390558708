"""``/works``: what goes on after its request was answered with 202."""

import json
from dataclasses import replace
from typing import Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from operations.admin.answers import WorksPage, WorkView
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation, found, named
from operations.admin.refusals import Problem, Refused
from operations.audit.recording import audited
from schemas.ids import is_job_id
from schemas.shape import to_plain
from schemas.works import Work

BEGIN = "works.begin"  # as the audit calls it


class Page(Asked):
    """``before``: what the page before said."""

    limit: int = Field(default=50, ge=1, le=200)
    before: str | None = Field(default=None, max_length=60)


async def list_works(call: Call[Page, Nothing]) -> Answer:
    limit = call.query.limit
    works = await call.desk.database.works.works(limit=limit + 1, before=_place(call.query.before))
    last = works[limit - 1] if len(works) > limit else None
    before = None if last is None else f"{last.created_at}:{last.work_id}"
    views = tuple(replace(view(one), arguments=None) for one in works[:limit])
    return Answer(to_plain(WorksPage(works=views, before=before)))


async def show_work(call: Call[Nothing, Nothing]) -> Answer:
    work = found(await call.desk.database.works.work(named(call, "work_id", is_job_id)))
    return Answer(to_plain(view(work)))


async def begun(
    call: Call[Any, Any], kind: str, arguments: dict[str, Any], target: str = "", reason: str = ""
) -> Answer:
    """Have a long work done, and say where to look. That it was asked for is in the audit, and so is what it does."""
    detail = {"kind": kind}
    async with audited(call.desk.log, call.actor, BEGIN, target=target, reason=reason, detail=detail) as action:
        work = await call.tools.works.begin(kind, arguments, call.actor)
        action.detail["work"] = work.work_id
    return Answer(to_plain(view(work)), 202, {"Location": f"/works/{work.work_id}"})


def view(work: Work) -> WorkView:
    """As it is shown."""
    return WorkView(
        work_id=work.work_id,
        kind=work.kind,
        state=work.state,
        asked_by=work.actor,
        created_at=work.created_at,
        updated_at=work.updated_at,
        tries=work.tries,
        arguments=_camel(json.loads(work.arguments)),
        result=None if work.result is None else json.loads(work.result),
        error=work.error,
    )


def _camel(said: Any) -> Any:
    """Members as everything here names them, however the work itself calls its arguments."""
    if isinstance(said, dict):
        return {to_camel(name): _camel(value) for name, value in said.items()}
    return said


def _place(before: str | None) -> tuple[int, str] | None:
    if before is None:
        return None
    at, _, work_id = before.partition(":")
    if not (at.isascii() and at.isdecimal() and len(at) < 16 and is_job_id(work_id)):
        words = "what the page before said"
        raise Refused(Problem.INVALID, details=[{"in": "query", "member": "before", "message": words}])
    return int(at), work_id


OPERATIONS = (
    Operation(
        method="get",
        path="/works",
        name="listWorks",
        tag="Works",
        summary="Long works that admins began, newest first",
        words="Without arguments and results: each work's own address has them.",
        query=Page,
        reply=WorksPage,
        problems=(Problem.INVALID,),
        handler=list_works,
    ),
    Operation(
        method="get",
        path="/works/{work_id}",
        name="getWork",
        tag="Works",
        summary="One long work: whether it waits, runs, is done or failed, and what came of it",
        reply=WorkView,
        problems=(Problem.NOT_FOUND,),
        handler=show_work,
    ),
)
