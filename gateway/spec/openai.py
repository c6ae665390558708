"""Rows of ``/v1``: OpenAI's videos API."""

from gateway.errors import Problem
from gateway.openai.videos import FILES
from gateway.spec.operation import Access, Operation, Parameter, Reply
from schemas.api.openai import (
    LIST_DEFAULT,
    LIST_MAX,
    POLL_AFTER,
    CreateVideo,
    Model,
    ModelList,
    Video,
    VideoDeleted,
    VideoList,
)

P = Problem
_TAG = "OpenAI"
_FORM = ("application/json", "multipart/form-data")
_THIS = {"video_id": "$response.body#/id"}
_POLL = {POLL_AFTER: "Milliseconds after which it is worth asking again; only while it is not finished."}
_KEY = Parameter(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters. The same key and body are answered with the same video, however often.",
    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    "header",
)
_LEDGER = (P.QUOTA, P.CONCURRENCY, P.RATE, P.CREDITS, P.BLOCKED, P.REFUSED, P.NOT_RECORDED, P.DAMAGED)
_NEVER = "Always refused: Mochi makes videos from words alone."


def _unsupported(method: str, path: str, name: str, summary: str) -> Operation:
    return Operation(
        method=method,
        path=path,
        name=name,
        tag=_TAG,
        summary=summary,
        words=_NEVER,
        replies={},
        problems=(P.UNSUPPORTED,),
    )


OPERATIONS = (
    Operation(
        method="post",
        path="/v1/videos",
        name="openaiCreateVideo",
        tag=_TAG,
        access=Access.MAKE,
        summary="Make a video, as OpenAI's SDKs ask for it",
        words="JSON or a form. OpenAI's sizes become the nearest that Mochi makes (848x480, 480x848), lengths the "
        "nearest of 6n+1 frames at 24 a second; the answer says what is made. Of vLLM-Omni's members these count. "
        "Refused because Mochi can't do it: `input_reference` and other references, `lora`, `extra_params`, and what "
        "other models know (`flow_shift`, `guidance_scale_2`, …). Other members are ignored, `null` reads as left out.",
        parameters=(_KEY,),
        body=CreateVideo,
        body_example={"model": "mochi-1", "prompt": "a corgi surfing at sunset", "seconds": "4", "size": "848x480"},
        body_media=_FORM,
        replies={
            200: Reply(
                "Admitted.",
                Video,
                headers=_POLL,
                links=dict.fromkeys(("openaiGetVideo", "openaiDeleteVideo", "openaiGetContent"), _THIS),
            ),
            202: Reply("Recorded, not decided yet.", Video, headers=_POLL),
        },
        problems=(P.BAD_KEY, P.NOT_JSON, P.BAD_FORM, P.INVALID, P.NO_MODEL, *_LEDGER, P.KEY_REUSED, P.DELETED),
    ),
    Operation(
        method="get",
        path="/v1/videos",
        name="openaiListVideos",
        tag=_TAG,
        summary="The caller's videos, a page at a time",
        parameters=(
            Parameter("after", "The id of the video after which the page begins.", {"type": "string"}),
            Parameter(
                "limit",
                "How many.",
                {"type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": LIST_DEFAULT},
            ),
            Parameter(
                "order",
                "By the time of creation.",
                {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
            ),
        ),
        replies={200: Reply("The page.", VideoList)},
        problems=(P.BAD_QUERY,),
    ),
    Operation(
        method="get",
        path="/v1/videos/{video_id}",
        name="openaiGetVideo",
        tag=_TAG,
        summary="One video",
        replies={200: Reply("The video.", Video, headers=_POLL)},
        problems=(P.NOT_FOUND,),
    ),
    Operation(
        method="delete",
        path="/v1/videos/{video_id}",
        name="openaiDeleteVideo",
        tag=_TAG,
        access=Access.WRITE,
        summary="Delete a video and its files",
        words="One that is being made is stopped.",
        replies={200: Reply("Deleted.", VideoDeleted), 202: Reply("Recorded, not carried out yet.", VideoDeleted)},
        problems=(P.NOT_FOUND, P.RATE, P.NOT_RECORDED, P.DAMAGED),
    ),
    Operation(
        method="get",
        path="/v1/videos/{video_id}/content",
        name="openaiGetContent",
        tag=_TAG,
        summary="A file of a finished video",
        parameters=(
            Parameter(
                "variant",
                "Which; there is no sprite sheet.",
                {"type": "string", "enum": list(FILES), "default": "video"},
            ),
        ),
        replies={
            307: Reply("Go on to the store.", headers={"Location": "An address in the store, signed for a while."})
        },
        problems=(P.BAD_QUERY, P.UNSUPPORTED, P.NOT_FOUND, P.NOT_READY, P.STORE_UNKNOWN),
    ),
    _unsupported("post", "/v1/videos/{video_id}/remix", "openaiRemix", "Make a video out of another"),
    _unsupported("post", "/v1/videos/edits", "openaiEdit", "Change a video"),
    _unsupported("post", "/v1/videos/extensions", "openaiExtend", "Make a video longer"),
    _unsupported("post", "/v1/videos/characters", "openaiCreateCharacter", "Learn a character from a video"),
    _unsupported("get", "/v1/videos/characters/{character_id}", "openaiGetCharacter", "A character"),
    Operation(
        method="get",
        path="/v1/models",
        name="openaiListModels",
        tag=_TAG,
        summary="The names under which videos are made",
        replies={200: Reply("All of them.", ModelList)},
    ),
    Operation(
        method="get",
        path="/v1/models/{model_id}",
        name="openaiGetModel",
        tag=_TAG,
        summary="One of these names",
        replies={200: Reply("It.", Model)},
        problems=(P.NO_MODEL,),
    ),
)
