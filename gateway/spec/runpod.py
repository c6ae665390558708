"""Rows of RunPod's client API, ``/v2/{endpoint_id}``."""

from dataclasses import replace

from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Parameter, Reply
from schemas.api.runpod import RUN_BYTES, RUNSYNC_BYTES, WAIT_DEFAULT_MS, WAIT_MS
from schemas.api.runpod_bodies import HealthAnswer, JobTold, Purged, RunAnswer, RunBody, StreamAnswer

P = Problem
_TAG = "RunPod"
_BASE = "/v2/{endpoint_id}"
_KEY = Parameter(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters. The same key and body on the same endpoint and operation are answered with the "
    "same job, however often.",
    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    "header",
)
_WAIT = Parameter(
    "wait",
    f"How many ms to wait for the job's end; {WAIT_DEFAULT_MS} if left out.",
    {"type": "integer", "minimum": WAIT_MS[0], "maximum": WAIT_MS[1]},
)
_LEDGER = (P.QUOTA, P.QUEUE_FULL, P.RATE, P.CREDITS, P.BLOCKED, P.REFUSED, P.NOT_RECORDED, P.DAMAGED)
_SUBMISSION = (
    P.NO_ENDPOINT, P.BAD_KEY, P.NOT_JSON, P.INVALID, P.TOO_NESTED, P.NO_ROOM, *_LEDGER, P.KEY_REUSED, P.KEY_OF_DELETED,
)  # fmt: skip
_JOB = (P.NO_ENDPOINT, P.NO_JOB, P.RESULT_GONE)
_TOLD = (*_JOB, P.NO_ROOM, P.STORE_UNKNOWN)
_EXAMPLE = {"input": {"positive_prompt": "a corgi surfing at sunset", "num_frames": 31}}
_LIMITS = "Bodies may have {} MB. Members beside those named are ignored."


def _asked_either_way(row: Operation) -> tuple[Operation, ...]:
    """The same question by GET and by POST, as RunPod's documents have had it."""
    return row, replace(row, method="post", name=f"{row.name}ByPost", summary=f"{row.summary} (by POST)")


OPERATIONS = (
    Operation(
        method="post",
        path=f"{_BASE}/run",
        name="runJob",
        tag=_TAG,
        access=Access.MAKE,
        nobody=P.NO_KEY,
        summary="Give an endpoint a job",
        words=_LIMITS.format(RUN_BYTES // 1024**2),
        parameters=(_KEY,),
        body=RunBody,
        body_example=_EXAMPLE,
        replies={200: Reply("Taken.", RunAnswer)},
        problems=_SUBMISSION,
    ),
    Operation(
        method="post",
        path=f"{_BASE}/runsync",
        name="runJobSync",
        tag=_TAG,
        access=Access.MAKE,
        nobody=P.NO_KEY,
        summary="Give an endpoint a job, and wait for its end",
        words=_LIMITS.format(RUNSYNC_BYTES // 1024**2) + " A job that has not ended in time is told as it is then.",
        parameters=(_WAIT, _KEY),
        body=RunBody,
        body_example=_EXAMPLE,
        replies={200: Reply("The job.", JobTold)},
        problems=(*_SUBMISSION, P.BAD_QUERY, P.TOO_MANY_WAIT, P.STORE_UNKNOWN),
    ),
    *_asked_either_way(
        Operation(
            method="get",
            path=f"{_BASE}/status/{{job_id}}",
            name="getJob",
            tag=_TAG,
            nobody=P.NO_KEY,
            summary="A job as it is",
            words="Told for a while after its end: RunPod's 30 minutes, unless the operator says otherwise.",
            replies={200: Reply("The job.", JobTold)},
            problems=_TOLD,
        )
    ),
    *_asked_either_way(
        Operation(
            method="get",
            path=f"{_BASE}/status-sync/{{job_id}}",
            name="waitForJob",
            tag=_TAG,
            nobody=P.NO_KEY,
            summary="A job when it has ended",
            words="Or as it is, when the time is over.",
            parameters=(_WAIT,),
            replies={200: Reply("The job.", JobTold)},
            problems=(*_TOLD, P.BAD_QUERY, P.TOO_MANY_WAIT),
        )
    ),
    *_asked_either_way(
        Operation(
            method="get",
            path=f"{_BASE}/stream/{{job_id}}",
            name="streamOfJob",
            tag=_TAG,
            nobody=P.NO_KEY,
            summary="What a job has yielded since this was last asked",
            words="Each chunk is given once. While there is none and the job goes on, the answer takes a few seconds.",
            replies={200: Reply("The chunks.", StreamAnswer)},
            problems=(*_JOB, P.NO_ROOM, P.TOO_MANY_WAIT),
        )
    ),
    Operation(
        method="post",
        path=f"{_BASE}/cancel/{{job_id}}",
        name="cancelJob",
        tag=_TAG,
        access=Access.WRITE,
        nobody=P.NO_KEY,
        summary="Cancel a job that has not ended",
        words="One that has ended stays as it is, and is told so.",
        replies={200: Reply("The job's state now.", RunAnswer)},
        problems=(*_JOB, P.RATE, P.NOT_RECORDED, P.DAMAGED),
    ),
    Operation(
        method="post",
        path=f"{_BASE}/retry/{{job_id}}",
        name="retryJob",
        tag=_TAG,
        access=Access.MAKE,
        nobody=P.NO_KEY,
        summary="Try a job again that failed or timed out",
        words="Under its id, with its input; what it had answered is gone.",
        replies={200: Reply("Queued again.", RunAnswer)},
        problems=(*_JOB, P.NOT_RETRYABLE, *_LEDGER),
    ),
    Operation(
        method="post",
        path=f"{_BASE}/purge-queue",
        name="purgeQueue",
        tag=_TAG,
        access=Access.WRITE,
        nobody=P.NO_KEY,
        summary="Cancel the caller's queued jobs",
        words="Those that run go on. An admin's call cancels everybody's. Up to 5,000 at a time.",
        replies={200: Reply("Cancelled.", Purged)},
        problems=(P.NO_ENDPOINT, P.RATE, P.NOT_RECORDED, P.DAMAGED),
    ),
    Operation(
        method="get",
        path=f"{_BASE}/health",
        name="endpointHealth",
        tag=_TAG,
        nobody=P.NO_KEY,
        summary="An endpoint's jobs and workers, counted",
        replies={200: Reply("The counts.", HealthAnswer)},
        problems=(P.NO_ENDPOINT,),
    ),
)
