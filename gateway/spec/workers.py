"""Rows of RunPod's worker protocol, ``/v2/{endpoint_id}``, which its SDK speaks. None is for people."""

from typing import Any

from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Parameter, Reply
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.chunks import CHUNK_MAX

P = Problem
_TAG = "RunPod workers"
_BASE = "/v2/{endpoint_id}"
_WHO = (
    "For workers built on RunPod's SDK: `Authorization` carries a worker's key of this endpoint "
    "(`openv endpoints key`), as it is or as a Bearer. "
)
_GPU = Parameter("gpu", "Sent by RunPod's SDK; not looked at.", {"type": "string"})
_BUSY = Parameter("job_in_progress", "Sent by RunPod's SDK; not looked at.", {"type": "string"})
_STREAMED = Parameter("isStream", "Sent by RunPod's SDK; not looked at.", {"type": "string"})
_JOB = {"id": "6f1c2a52-3f0e-4e0c-9f5e-2c8c6f1d7a10", "input": {"prompt": "a corgi"}}

OPERATIONS = (
    Operation(
        method="get",
        path=f"{_BASE}/job-take/{{pod_id}}",
        name="workerTakeJob",
        tag=_TAG,
        access=Access.WORKER,
        summary="Wait for a job",
        words=f"{_WHO}A poll is answered when there is a job, or with 204 after a minute. A worker has one poll at a "
        "time: a second one ends the first with 429.",
        parameters=(_GPU, _BUSY),
        replies={
            200: Reply("A job, which this worker now has.", dict[str, Any], example=_JOB),
            204: Reply("There was none: ask again."),
        },
        problems=(P.BAD_QUERY, P.RATE),
    ),
    Operation(
        method="get",
        path=f"{_BASE}/job-take-batch/{{pod_id}}",
        name="workerTakeJobs",
        tag=_TAG,
        access=Access.WORKER,
        summary="Wait for several jobs",
        words=f"{_WHO}As for one; it is answered as soon as there is any.",
        parameters=(
            _GPU,
            _BUSY,
            Parameter("batch_size", "How many at most.", {"type": "integer", "minimum": 1, "default": 1}),
        ),
        replies={
            200: Reply("Jobs, which this worker now has.", list[dict[str, Any]], example=[_JOB]),
            204: Reply("There was none: ask again."),
        },
        problems=(P.BAD_QUERY, P.RATE),
    ),
    Operation(
        method="post",
        path=f"{_BASE}/job-done/{{pod_id}}/{{job_id}}",
        name="workerDone",
        tag=_TAG,
        access=Access.WORKER,
        summary="How a job ended, or how it is getting on",
        words=f"{_WHO}`output`, `error` or both end the job; `status: IN_PROGRESS` with `output` is a progress update. "
        f"At most {RUNSYNC_BYTES // 1024**2} MB: a job whose answer is larger, or can't be read, has failed. Whatever "
        "type the body is said to be, it is read as JSON.",
        parameters=(_GPU, _STREAMED),
        body=dict[str, Any],
        body_example={"output": {"greeting": "hello"}},
        replies={200: Reply("Recorded, or it changes nothing; repeating is harmless.", dict[str, Any], example={})},
        problems=(P.BAD_QUERY, P.BAD_BODY, P.NO_JOB, P.NO_ROOM),
    ),
    Operation(
        method="post",
        path=f"{_BASE}/job-stream/{{pod_id}}/{{job_id}}",
        name="workerStream",
        tag=_TAG,
        access=Access.WORKER,
        summary="A chunk of what a generator yields",
        words=f"{_WHO}Kept until the client takes it: at most {CHUNK_MAX} bytes, and so much that waits.",
        parameters=(_GPU, _STREAMED),
        body=dict[str, Any],
        body_example={"output": "hello"},
        replies={200: Reply("Kept, or its attempt does not count any more.", dict[str, Any], example={})},
        problems=(P.BAD_QUERY, P.BAD_BODY, P.NO_JOB, P.NO_ROOM, P.RATE),
    ),
    Operation(
        method="get",
        path=f"{_BASE}/ping/{{pod_id}}",
        name="workerPing",
        tag=_TAG,
        access=Access.WORKER,
        summary="A sign of life",
        words=f"{_WHO}Every ten seconds. A job that is not named for 30 s goes to another worker.",
        parameters=(
            _GPU,
            Parameter("job_id", "The jobs that this worker has, with commas between.", {"type": "string"}),
            Parameter("runpod_version", "Sent by RunPod's SDK; not looked at.", {"type": "string"}),
        ),
        replies={200: Reply("Heard.", dict[str, Any], example={})},
        problems=(P.BAD_QUERY,),
    ),
    Operation(
        method="get",
        path=f"{_BASE}/job-stop/{{pod_id}}",
        name="workerStops",
        tag=_TAG,
        access=Access.WORKER,
        summary="Wait for jobs that must be stopped",
        words=f"{_WHO}Answered when there are any, or with 204 after a minute.",
        parameters=(_GPU,),
        replies={
            200: Reply("Stop these; nothing has to be answered.", dict[str, Any], example={"jobsToStop": [_JOB["id"]]}),
            204: Reply("There was none: ask again."),
        },
        problems=(P.BAD_QUERY, P.RATE),
    ),
)
