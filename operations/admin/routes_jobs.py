"""``/jobs``: list, show, one's whole life; requeue, kill, cancel, delete. The work is in ``operations/jobs``."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from operations.admin.answers import Acted, JobsPage, JobView, LifeView
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation, Why, found, named
from operations.admin.refusals import Problem, Refused
from operations.audit.recording import READ_JOB, reading_words
from operations.core.job_acts import Verb
from operations.jobs import acts
from operations.jobs.life import life_of
from operations.jobs.listing import page, sought_of
from operations.jobs.views import act_plain, job_plain, life_plain
from operations.stack.errors import StackError
from schemas.ids import is_name

P = Problem
RECORDS_MOST = 50_000
Words = Annotated[str, Field(min_length=1, max_length=200)]


class WantedJobs(Asked):
    """Which jobs: ``state`` may name several, with commas; ``since``: created then, RFC 3339 or so long ago (``2h``).
    ``after``: what the page before said."""

    user: Words | None = None
    state: Words | None = None
    pool: Words | None = None
    endpoint: Words | None = None
    code: Words | None = None
    since: Words | None = None
    after: Words | None = None
    limit: int = Field(default=50, ge=1, le=200)


class Shown(Asked):
    """``prompt``: with what the user wrote; that is in the audit before it is shown."""

    prompt: bool = False


class Kill(Why):
    """``final``: it is not tried again."""

    final: bool = False


async def list_jobs(call: Call[WantedJobs, Nothing]) -> Answer:
    asked = call.query
    states = tuple(asked.state.split(",")) if asked.state is not None else ()
    try:
        sought = sought_of(asked.user, states, asked.pool, asked.endpoint, asked.code, asked.since, call.tools.now())
        listed = await page(call.desk, sought, limit=asked.limit, after=asked.after)
    except StackError as error:
        raise Refused(P.INVALID, words=str(error)) from None
    jobs = [job_plain(job) for job in listed.jobs]
    return Answer({"jobs": jobs, **({} if listed.after is None else {"after": listed.after})})


async def show_job(call: Call[Shown, Nothing]) -> Answer:
    job = found(await call.desk.database.jobs.job(named(call, "job_id", is_name)))
    async with _reading(call, job.job_id):
        return Answer({"job": job_plain(job, prompt=call.query.prompt)})


async def show_life(call: Call[Shown, Nothing]) -> Answer:
    job_id = named(call, "job_id", is_name)
    found(await call.desk.database.jobs.job(job_id))
    async with call.tools.reading.turn(), _reading(call, job_id):
        life = await life_of(call.desk, call.tools.objects, job_id, most=RECORDS_MOST)
        return Answer(life_plain(life, prompt=call.query.prompt))


def _reading(call: Call[Shown, Nothing], job_id: str) -> AbstractAsyncContextManager[None]:
    return reading_words(call.desk.log, call.actor, READ_JOB, job_id, shown=call.query.prompt)


async def act(verb: Verb, call: Call[Nothing, Why]) -> Answer:
    """Do it. What is recorded and not decided yet is 202; what could not be done is refused, with how the job is."""
    job_id = named(call, "job_id", is_name)
    found(await call.desk.database.jobs.job(job_id))
    final = isinstance(call.body, Kill) and call.body.final
    came = await acts.act(call.desk, call.actor, verb, job_id, acts.Asked(call.body.reason, final))
    if came.decided and not came.done:
        raise Refused(P.REFUSED, words=came.words, job=job_plain(came.job))
    return Answer(act_plain(came), 200 if came.decided else 202)


def _acting(verb: Verb, method: str, path: str, summary: str, body: type[Why] = Why) -> Operation:
    handler: Callable[[Call[Any, Any]], Any] = partial(act, verb)
    return Operation(
        method=method,
        path=path,
        name=f"{verb}Job",
        tag="Jobs",
        summary=summary,
        words="202: recorded, and no ledger has decided it in time; it is carried out when one runs.",
        action=f"jobs.{verb}",
        body=body,
        reply=Acted,
        statuses=(200, 202),
        problems=(P.NOT_FOUND, P.NOT_DECIDED),
        handler=handler,
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/jobs",
        name="listJobs",
        tag="Jobs",
        summary="Jobs, newest first",
        words="Without what their users wrote.",
        query=WantedJobs,
        reply=JobsPage,
        handler=list_jobs,
    ),
    Operation(
        method="get",
        path="/jobs/{job_id}",
        name="getJob",
        tag="Jobs",
        summary="One job's document",
        action=READ_JOB,
        audited_if="prompt",
        query=Shown,
        reply=JobView,
        problems=(P.NOT_FOUND,),
        handler=show_job,
    ),
    Operation(
        method="get",
        path="/jobs/{job_id}/timeline",
        name="getJobTimeline",
        tag="Jobs",
        summary="One job's whole life: commands, events, attempts, files, deliveries",
        words=f"Of each topic {RECORDS_MOST} records are read at most; `gaps` says what is missing.",
        action=READ_JOB,
        audited_if="prompt",
        query=Shown,
        reply=LifeView,
        problems=(P.NOT_FOUND, P.BUSY),
        handler=show_life,
    ),
    _acting(Verb.REQUEUE, "post", "/jobs/{job_id}/requeue", "Have it made again"),
    _acting(Verb.KILL, "post", "/jobs/{job_id}/kill", "End its attempt, which costs it a try", Kill),
    _acting(Verb.CANCEL, "post", "/jobs/{job_id}/cancel", "Cancel it"),
    _acting(Verb.DELETE, "delete", "/jobs/{job_id}", "Delete it, with its files"),
)
