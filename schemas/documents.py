"""The job as everyone outside sees it: the document plus members derived from it for OpenV's web clients.

Events carry this form, and the HTTP API and the sockets show the same, so that a client needs one reader.
"""

from typing import Any

import orjson

from schemas.ids import number_of
from schemas.jobs import Job
from schemas.lifecycle import OPENV_STATUS
from schemas.shape import to_plain


def job_document(job: Job) -> dict[str, Any]:
    """The job as plain JSON data.

    OpenV's ``id, jobId, userId, prompt, status, url?, frames?, createdAt, updatedAt``, and ours.

    ``url``, ``posterUrl`` and ``thumbnailUrl`` are paths on the gateway that never expire.
    """
    document = to_plain(job)
    document["id"] = number_of(job.job_id, job.created_at)
    document["status"] = OPENV_STATUS[job.state]
    document["prompt"] = job.request.prompt
    output = job.output
    document["frames"] = output.frames if output and output.frames else job.request.num_frames
    if output:
        for member, kind, file in (
            ("url", "video", output.video),
            ("posterUrl", "poster", output.poster),
            ("thumbnailUrl", "thumbnail", output.thumbnail),
        ):
            if file:
                document[member] = f"/api/videos/{job.job_id}/{kind}"
    return document


def job_json(job: Job) -> bytes:
    """``job_document`` as JSON bytes."""
    return orjson.dumps(job_document(job))
