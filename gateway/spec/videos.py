"""Rows of ``/api/runpod`` and ``/api/videos``."""

from gateway.core.listing import LIMIT_DEFAULT, LIMIT_MAX, STATES_OF, Form
from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Parameter, Reply
from schemas.api.answers import (
    DecidedJob,
    Deleted,
    ExpectedRow,
    JobDocument,
    JobStatus,
    Tombstone,
    VideosObject,
    Waiting,
)
from schemas.api.openv import DeleteBody, GenerateBody, OriginalBody

P = Problem
_TAG = "Videos"
_ID = "6f1c2a52-3f0e-4e0c-9f5e-2c8c6f1d7a10"
_KEY = Parameter(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters. The same key and body are answered with the same video, however often.",
    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    "header",
)
_LEDGER = (P.QUOTA, P.CONCURRENCY, P.RATE, P.CREDITS, P.BLOCKED, P.REFUSED, P.NOT_RECORDED, P.DAMAGED)
_ROW = Reply("The row.", JobDocument)
_NOT_YET = "Recorded, not decided yet: the row as it will be, or as it still is."
_THIS = {"job_id": "$response.body#/jobId"}
_LATER = Reply("Recorded, not decided yet: the row as it still is.", JobDocument)

OPERATIONS = (
    Operation(
        method="post",
        path="/api/runpod",
        name="makeVideo",
        tag=_TAG,
        access=Access.MAKE,
        summary="Make a video",
        words="A body with a member `input` is OpenV's own form, any other the flat one. Also read in the flat form: "
        "`positive_prompt` and `positivePrompt` for `prompt`, `negativePrompt`, `numFrames`. Unknown members are "
        "ignored, `null` reads as left out. Checks come in this order: who, may it, is the body right, quota, "
        "concurrency, rate, credits.",
        parameters=(_KEY,),
        body=GenerateBody | OriginalBody,
        body_example={"prompt": "a corgi surfing at sunset", "width": 848, "height": 480, "num_frames": 31},
        replies={
            200: Reply(
                "Admitted: the row.",
                DecidedJob,
                links=dict.fromkeys(("getVideo", "cancelVideo", "retryVideo", "getFile"), _THIS),
            ),
            202: Reply(_NOT_YET, JobDocument | ExpectedRow),
        },
        problems=(P.BAD_KEY, P.NOT_JSON, P.INVALID, *_LEDGER, P.KEY_REUSED, P.DELETED),
    ),
    Operation(
        method="get",
        path="/api/runpod/{job_id}",
        name="getVideo",
        tag=_TAG,
        summary="One video",
        words="With what RunPod's status object has beside it.",
        replies={200: Reply("The row.", JobStatus)},
        problems=(P.NOT_FOUND,),
    ),
    Operation(
        method="post",
        path="/api/runpod/{job_id}/cancel",
        name="cancelVideo",
        tag=_TAG,
        access=Access.WRITE,
        summary="Cancel a video that is not finished",
        words="Its seconds are given back, as far as the deployment does so. One that is cancelled already is answered "
        "with its row again.",
        replies={200: _ROW, 202: _LATER},
        problems=(P.NOT_FOUND, P.FINISHED, P.RATE, P.NOT_RECORDED, P.DAMAGED),
    ),
    Operation(
        method="post",
        path="/api/runpod/{job_id}/retry",
        name="retryVideo",
        tag=_TAG,
        access=Access.MAKE,
        summary="Try a video again",
        words="Another run of one that failed, timed out or was cancelled; charged as a new one.",
        replies={
            200: Reply("Queued again: the row.", DecidedJob),
            202: Reply(_NOT_YET, JobDocument | Waiting),
        },
        problems=(P.NOT_FOUND, P.NOT_FINISHED, *_LEDGER, P.DELETED),
    ),
    Operation(
        method="get",
        path="/api/videos",
        name="listVideos",
        tag=_TAG,
        nobody=P.NO_CALLER,
        summary="The caller's videos, newest first",
        parameters=(
            Parameter(
                "updatedSince",
                "Only what changed after this: milliseconds since 1970, or ISO 8601 (UTC where it names no zone).",
                {"type": "string", "examples": ["1763715846123", "2026-11-21T09:04:06.123Z"]},
            ),
            Parameter(
                "limit",
                f"Asks for pages of so many rows ({LIMIT_DEFAULT} with `before` alone). Without either: all rows.",
                {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
            ),
            Parameter(
                "before",
                "Where the page begins; from `Link` or `nextCursor` of the page before.",
                {"type": "string"},
            ),
            Parameter(
                "status",
                f"Only these, with commas between: {', '.join(STATES_OF)}.",
                {"type": "string", "examples": ["completed", "queued,processing"]},
            ),
            Parameter(
                "format",
                "The bare array of OpenV's first web client, or the object of its later one. The deployment says which "
                "it is if left out (`OPENV_VIDEOS_FORMAT`).",
                {"type": "string", "enum": [form.value for form in Form]},
            ),
            Parameter(
                "deleted",
                "`true`: deleted videos are listed as tombstones, so that whoever polls can drop their rows.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
        ),
        replies={
            200: Reply(
                "The rows.",
                list[JobDocument | Tombstone] | VideosObject,
                headers={"Link": '`<…>; rel="next"` where a page was asked for and there are more.'},
            )
        },
        problems=(P.BAD_QUERY,),
    ),
    Operation(
        method="delete",
        path="/api/videos",
        name="deleteVideos",
        tag=_TAG,
        access=Access.WRITE,
        nobody=P.NO_CALLER,
        summary="Delete videos: rows and files",
        words="One that is being made is stopped. Ids that are not the caller's change nothing.",
        body=DeleteBody,
        body_example={"jobIds": [_ID]},
        replies={
            200: Reply("Deleted.", Deleted, example={"success": True}),
            202: Reply("Recorded; those in `pending` are not decided yet.", Deleted),
        },
        problems=(P.BAD_BODY, P.BAD_JOB_IDS, P.RATE, P.NOT_RECORDED, P.DAMAGED),
    ),
    Operation(
        method="get",
        path="/api/videos/{job_id}/{kind}",
        name="getFile",
        tag=_TAG,
        summary="A file of a finished video",
        words="An address that never expires; it works as the `src` of a `<video>` or `<img>`.",
        parameters=(
            Parameter(
                "download",
                "`1`: a browser saves the file under a name instead of showing it.",
                {"type": "string", "enum": ["1"]},
            ),
        ),
        replies={
            307: Reply("Go on to the store.", headers={"Location": "An address in the store, signed for a while."})
        },
        problems=(P.NOT_FOUND, P.NO_ROUTE, P.NOT_READY, P.STORE_UNKNOWN),
    ),
)
