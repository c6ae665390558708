"""The job as everyone outside sees it: the document plus members derived from it for OpenV's web clients.

Events carry this form, and the HTTP API and the sockets show the same, so that a client needs one reader.
"""

from typing import Any

import orjson

from schemas.ids import number_of
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.lifecycle import OPENV_STATUS
from schemas.requests import GenerationRequest
from schemas.shape import to_plain


def job_document(job: Job) -> dict[str, Any]:
    """The job as plain JSON data.

    The columns of OpenV's table, ``null`` where its database had nothing: ``id, jobId, userId, prompt, status,
    createdAt, updatedAt, modelName, frames, url, error, retryCount, negativePrompt, width, height, seed, steps, cfg``;
    and all of ours.

    ``url``, ``posterUrl`` and ``thumbnailUrl`` are paths on the gateway that never expire. ``retryCount`` counts the
    retries of the newest run.
    """
    document = to_plain(job)
    request = job.request
    document["id"] = number_of(job.job_id, job.created_at)
    document["status"] = OPENV_STATUS[job.state]
    document |= _wish(request)
    document["error"] = job.failure.message if job.failure else None
    document["retryCount"] = job.tries - 1
    document["url"] = None
    output = job.output
    document["frames"] = output.frames if output and output.frames else request.num_frames
    if output:
        for member, kind, file in (
            ("url", "video", output.video or output.remote_url),
            ("posterUrl", "poster", output.poster),
            ("thumbnailUrl", "thumbnail", output.thumbnail),
        ):
            if file:
                document[member] = f"/api/videos/{job.job_id}/{kind}"
    return document


def job_json(job: Job) -> bytes:
    """``job_document`` as JSON bytes."""
    return orjson.dumps(job_document(job))


def expected_row(job_id: str, user_id: str, request: GenerationRequest, at: int) -> dict[str, Any]:
    """OpenV's columns of a job that was recorded at ``at`` (ms) and is not decided yet, as they will be if it is
    admitted: its ``id`` is then the same."""
    return {
        "id": number_of(job_id, at),
        "jobId": job_id,
        "userId": user_id,
        "status": "queued",
        "createdAt": to_iso(at),
        "updatedAt": to_iso(at),
        "error": None,
        "retryCount": 0,
        "url": None,
        "frames": request.num_frames,
        **_wish(request),
    }


def _wish(request: GenerationRequest) -> dict[str, Any]:
    """What was asked for, in OpenV's columns."""
    return {
        "prompt": request.prompt,
        "modelName": request.model,
        "negativePrompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "seed": request.seed,
        "steps": request.steps,
        "cfg": request.cfg,
    }
