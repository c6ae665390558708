"""``/api/videos/{job_id}/video|poster|thumbnail``: addresses that never expire, each a redirect to one that does."""

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.errors import Problem, Refused
from gateway.http.rows import own_job
from gateway.identity.guard import caller
from gateway.parts import Parts, parts_of
from schemas.jobs import Job, StoredFile
from schemas.lifecycle import State

logger = structlog.get_logger()

ENDINGS = {"video": "mp4", "poster": "jpg", "thumbnail": "webp"}
UNSHARED = {"Cache-Control": "private, no-store"}


async def file(request: Request) -> Response:
    """307 to a URL in the store that the document names, signed now, whether or not that store answers at the moment.

    ``?download=1``: browsers save it under a name instead of showing it. HEAD tells size and type at once: a signed
    address is good for GET alone. A video that a foreign service keeps is redirected to as that service named it.
    """
    parts = parts_of(request)
    principal = await caller(request)
    kind = request.path_params["kind"]
    if kind not in ENDINGS:
        raise Refused(Problem.NO_ROUTE)
    job = await own_job(parts, principal, request.path_params["job_id"])
    return await file_of(request, job, kind, as_download=request.query_params.get("download") == "1")


async def file_of(request: Request, job: Job, kind: str, *, as_download: bool = False) -> Response:
    """The answer to a request for this file of a job of the caller's. Raises ``Refused``."""
    parts = parts_of(request)
    if job.state is not State.COMPLETED:
        raise Refused(Problem.NOT_READY, state=job.state.value)
    stored = _stored(job, kind)
    if stored is None:
        return _elsewhere(job, kind, _headers(parts))
    if request.method == "HEAD":
        return _described(stored, _headers(parts))
    filename = f"{job.job_id}.{ENDINGS[kind]}" if as_download else None
    objects = parts.objects.named(stored.store)
    if objects is None:
        logger.error("store_unknown", store=stored.store, job_id=job.job_id, needs="S3_FALLBACK_* as on the workers")
        raise Refused(Problem.STORE_UNKNOWN)
    url = await objects.signed_url(stored.key, expires_s=parts.settings.signed_url_seconds, filename=filename)
    return RedirectResponse(url, status_code=307, headers=_headers(parts))


def _headers(parts: Parts) -> dict[str, str]:
    """Pages that the operator named may show it in a ``<video>``; no other gets a visitor's cookie sent along."""
    embedded = "cross-origin" if parts.settings.allowed_origins else "same-origin"
    return {**UNSHARED, "Cross-Origin-Resource-Policy": embedded}


def _stored(job: Job, kind: str) -> StoredFile | None:
    if job.output is None:
        return None
    return {"video": job.output.video, "poster": job.output.poster, "thumbnail": job.output.thumbnail}[kind]


def _elsewhere(job: Job, kind: str, headers: dict[str, str]) -> Response:
    if kind != "video" or job.output is None or job.output.remote_url is None:
        raise Refused(Problem.NOT_FOUND)
    return RedirectResponse(job.output.remote_url, status_code=307, headers=headers)


def _described(stored: StoredFile, headers: dict[str, str]) -> Response:
    about = {"Content-Length": str(stored.bytes), "Accept-Ranges": "bytes", "ETag": f'"{stored.sha256}"'}
    return Response(media_type=stored.media_type, headers=headers | about)


ROUTES = [Route("/api/videos/{job_id}/{kind}", file, methods=["GET"])]
