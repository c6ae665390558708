"""A caller's own jobs as rows of an HTTP answer.

Addresses of files are paths, which hold on whatever host the gateway is reached by. A page of another origin would look
for them at its own host: it is told them with ours before.
"""

from typing import Any

from starlette.requests import Request

from gateway.core.origins import may_act
from gateway.errors import Problem, Refused
from gateway.identity.principal import Principal
from gateway.parts import Parts, parts_of
from schemas.documents import job_document
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.lifecycle import State

ADDRESSES = ("url", "posterUrl", "thumbnailUrl")


async def own_job(parts: Parts, principal: Principal, job_id: str) -> Job:
    """The caller's video. Another's, a deleted one, what is no video and none at all are the same: ``Refused``, 404."""
    job = await parts.store.job(job_id)
    if job is None or job.user_id != principal.user_id or job.external or job.state is State.DELETED:
        raise Refused(Problem.NOT_FOUND)
    return job


def host_for(request: Request) -> str:
    """What is put before the path of a file for who asks: nothing, or the public address for another origin's page."""
    origin, ours = request.headers.get("origin"), parts_of(request).settings.origin
    host = request.headers.get("host")
    if origin is None or may_act(origin, scheme=request.url.scheme, host=host, allowed=(ours,)):
        return ""
    return ours


def row_of(request: Request, job: Job) -> dict[str, Any]:
    """The document for this request."""
    return placed(job_document(job), host_for(request))


def listed(job: Job, host: str) -> dict[str, Any]:
    """A line of the list: the document, or the little that a deleted job leaves."""
    if job.state is State.DELETED:
        return {"jobId": job.job_id, "status": "deleted", "updatedAt": to_iso(job.updated_at)}
    return placed(job_document(job), host)


def placed(document: dict[str, Any], host: str) -> dict[str, Any]:
    """The document with its addresses on that host; changed in place."""
    if host:
        for member in ADDRESSES:
            if document.get(member):
                document[member] = host + document[member]
    return document


def status_of(job: Job, row: dict[str, Any]) -> dict[str, Any]:
    """The row with what RunPod's status object has beside it: ``delayTime`` and ``executionTime`` in ms, and the video
    as ``output.result``. ``id`` and ``status`` are the row's: what OpenV's page looks at."""
    if job.started_at is not None:
        row["delayTime"] = max(0, job.started_at - job.created_at)
        if job.finished_at is not None:
            row["executionTime"] = max(0, job.finished_at - job.started_at)
    if row["url"]:
        row["output"] = {**row["output"], "result": row["url"], "status": "DONE"}
    return row
