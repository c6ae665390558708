"""A body of ``/v2/{endpoint}/run`` becomes what is wished of the endpoint, or everything that is wrong with it.

What an external worker is given is made into its JSON text here, in one go: of a large body nothing but that text is
left when the gateway begins to wait for others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from gateway.core.field_words import words
from gateway.core.submission import Invalid, field_errors, request_of
from schemas.api.openv import FieldError
from schemas.api.runpod import SYNC_PREFIX
from schemas.api.runpod_bodies import MochiInput, MochiVae, RunBody
from schemas.endpoints import EndpointKind, ServerlessEndpoint
from schemas.ids import job_id_of_key, request_hash
from schemas.requests import GenerationRequest
from schemas.shape import to_plain

LOW_PRIORITY = -1


@dataclass(frozen=True, slots=True)
class Wish:
    """``request``: of an endpoint that makes videos. ``text``: JSON of ``{"input", "s3Config"?}`` where a worker needs
    it; ``is_secret``: it may lie in the object store alone. ``digest`` tells a repeat from another. Times in ms."""

    request: GenerationRequest | None
    text: bytes | None
    is_secret: bool
    digest: str
    webhook: str | None
    ttl_ms: int
    execution_timeout_ms: int
    priority: int


def wish_of(body: Any, endpoint: ServerlessEndpoint, wrong_with_webhook: Callable[[str], str | None]) -> Wish | Invalid:
    """What a JSON body asks of this endpoint. ``wrong_with_webhook``: why an address can't be told anything."""
    if not isinstance(body, Mapping):
        return Invalid((FieldError(field="body", message="must be a JSON object"),))
    try:
        read = RunBody.model_validate(body)
    except ValidationError as error:
        return Invalid(tuple(_line(one) for one in error.errors(include_url=False, include_input=False)))
    told = (("webhook", read.webhook), ("webhookV2", read.webhook_v2))
    wrong = [(name, wrong_with_webhook(url)) for name, url in told if url is not None]
    if lines := tuple(FieldError(field=name, message=words) for name, words in wrong if words is not None):
        return Invalid(lines)
    request = _mochi(read.input) if endpoint.kind is EndpointKind.ENGINE else None
    if isinstance(request, Invalid):
        return request
    s3 = None if read.s3_config is None else read.s3_config.model_dump(by_alias=True, exclude_none=True)
    given = {"input": read.input} | ({"s3Config": s3} if s3 else {})
    webhook = read.webhook or read.webhook_v2
    policy = read.policy
    asked = {
        "endpoint": endpoint.endpoint_id,
        **given,
        "webhook": webhook,
        "policy": policy.model_dump(),
        **({"input": to_plain(request)} if request else {}),
    }
    try:
        digest = request_hash(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS))
        text = None if request is not None and s3 is None else orjson.dumps(given)
    except orjson.JSONEncodeError:  # it was read from deeper than it can be written
        return Invalid((FieldError(field="input", message="is nested too deeply"),))
    return Wish(
        request=request,
        text=text,
        is_secret=s3 is not None,
        digest=digest,
        webhook=webhook,
        ttl_ms=endpoint.ttl_ms if policy.ttl is None else policy.ttl,
        execution_timeout_ms=(
            endpoint.execution_timeout_ms if policy.execution_timeout is None else policy.execution_timeout
        ),
        priority=LOW_PRIORITY if policy.low_priority else 0,
    )


def job_id_at(endpoint_id: str, user_id: str, idempotency_key: str | None, fresh_id: str, *, sync: bool) -> str:
    """The job id: always the same for the same key of the same user on the same endpoint, else the fresh one.

    The line end keeps these keys apart from those of ``POST /api/runpod``, which have none.
    """
    if idempotency_key is not None:
        fresh_id = job_id_of_key(user_id, f"{endpoint_id}\n{idempotency_key}")
    return f"{SYNC_PREFIX}{fresh_id}" if sync else fresh_id


def _mochi(given: Any) -> GenerationRequest | Invalid:
    if not isinstance(given, Mapping):
        return Invalid((FieldError(field="input", message="must be a JSON object"),))
    try:
        vae = given.get("vae")
        if vae is not None:
            MochiVae.model_validate(vae)
    except ValidationError as error:
        lines = error.errors(include_url=False, include_input=False)
        return Invalid(tuple(_line(one, "input", "vae") for one in lines))
    try:
        read = MochiInput.model_validate({name: one for name, one in given.items() if name != "vae"})
    except ValidationError as error:
        wrong = field_errors(error)
        return Invalid(tuple(FieldError(field=f"input.{one.field}", message=one.message) for one in wrong))
    return request_of(read, read.prompt, read.model)


def _line(error: Any, *before: str) -> FieldError:
    """What a person reads about one wrong member; never its value."""
    field = ".".join(map(str, (*before, *error["loc"]))) or "body"
    return FieldError(field=field, message=words(error["type"], error.get("ctx", {})))
