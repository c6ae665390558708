"""What RunPod's completion webhook says of a job, and its signature where its endpoint has a secret.

The body is ``/status``'s object with ``input`` and ``webhook`` (docs.runpod.io, "Webhook notifications"; an example is
in runpod-python's issue 409). It holds what a client gave and a worker answered, up to 40 MB together, which would take
many times that if they were parsed: they are put in as ``repo/values.py`` stored them, compact JSON.
"""

import base64
import hmac
from typing import Any

import orjson

from schemas.api.runpod import json_members, spliced_object
from schemas.deliveries import Delivery
from schemas.jobs import Job
from schemas.requests import GenerationRequest
from streams.core.notices import EVENT_OF

S3_CONFIG_MAX = 64 * 1024  # bytes, more than its members can have (schemas/api/runpod_bodies.py)
_INPUT, _S3_CONFIG = b'{"input":', b',"s3Config":'
_MARK = "whsec_"
WORDS_DELETED = "The job was deleted."
WORDS_RETRIED = "The job was tried again: how that ends is told anew."


def not_told(delivery: Delivery, job: Job | None) -> str | None:
    """Why the end that this delivery is about is not told any more; None where it is."""
    if job is None or job.webhook is None:
        return WORDS_DELETED
    if job.run != delivery.run or job.state not in EVENT_OF:
        return WORDS_RETRIED
    return None


def body_of(job: Job, *, given: bytes | None, word: bytes | None, result: str | None) -> bytes:
    """The JSON that is sent about a job that has ended.

    ``given``: what external workers were given, the text of ``{input, s3Config?}``; None: ours, see ``mochi_input``.
    ``word``: what they answered, the text of ``{output?, error?}``. ``result``: the address of the finished video.
    Raises ValueError for a text that is no JSON object.
    """
    told = spliced_object(job, word, result=result)
    told["input"] = mochi_input(job.request) if given is None else _input_in(given)
    told["webhook"] = job.webhook
    return orjson.dumps(told)


def mochi_input(request: GenerationRequest) -> dict[str, Any]:
    """The request as worker-mochi takes it. (What the client gave besides was not looked at, and is not kept.)"""
    return {
        "positive_prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "seed": request.seed,
        "steps": request.steps,
        "cfg": request.cfg,
        "num_frames": request.num_frames,
    }


def signed_headers(secret: str, delivery_id: str, at: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks 1.0.0 over these bytes. ``at``: ms. Raises ValueError for a secret that is no base64.

    Not by the ``standardwebhooks`` package, which wants the body as text and copies it twice.
    """
    seconds = str(at // 1000)
    text = secret.removeprefix(_MARK)
    key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if not key:
        raise ValueError("an empty secret")
    made = hmac.new(key, f"{delivery_id}.{seconds}.".encode(), "sha256")
    made.update(body)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(made.digest()).decode()}",
    }


def _input_in(given: bytes) -> Any:
    """Never ``s3Config``: it holds the client's keys.

    It is the last member, and small: whatever else has its name lies within the input, where JSON does not end.
    """
    if not given.startswith(_INPUT):
        return json_members(given).get("input")
    at = given.rfind(_S3_CONFIG, max(0, len(given) - S3_CONFIG_MAX))
    is_there = at >= 0 and _is_json(given[at + len(_S3_CONFIG) : -1])
    return orjson.Fragment(given[len(_INPUT) : at if is_there else -1])


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
