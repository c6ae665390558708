"""A body, a user and a key become a ``SubmitJob``, or the list of everything that is wrong with the body.

Sizes are rounded down to what the model can make (multiples of 16 pixels, 6n+1 frames), so the answer's ``frames`` says
what will be made and what is charged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from gateway.core.field_words import range_words, words
from gateway.core.zod_words import original_errors
from schemas.api.openv import FIELD_OF_ALIAS, FieldError, GenerateBody, OriginalBody, OriginalInput
from schemas.commands import SubmitJob
from schemas.ids import job_id_of_key, request_hash
from schemas.requests import GenerationRequest, whole_frames, whole_pixels
from schemas.shape import to_plain

_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")


@dataclass(frozen=True, slots=True)
class Invalid:
    """What is wrong, one line a field."""

    details: tuple[FieldError, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the shell has made for a submission: ids and the instant (ms) after which it no longer counts."""

    command_id: str
    job_id: str
    append_by: int


def is_idempotency_key(text: str) -> bool:
    """Whether an ``Idempotency-Key`` header is usable: 1-255 visible ASCII characters."""
    return _KEY.fullmatch(text) is not None


def job_id_for(user_id: str, idempotency_key: str | None, fresh_id: str) -> str:
    """The job id: always the same for the same key of the same user, else the fresh one."""
    return job_id_of_key(user_id, idempotency_key) if idempotency_key is not None else fresh_id


def submission(body: Any, user_id: str, ticket: Ticket) -> SubmitJob | Invalid:
    """The command for a JSON body, or every field that is wrong."""
    request = generation_request(body)
    return request if isinstance(request, Invalid) else command_for(request, user_id, ticket)


def command_for(request: GenerationRequest, user_id: str, ticket: Ticket, origin: str = "openv") -> SubmitJob:
    """The command that asks for this video; ``origin`` names the API it was asked by."""
    canonical = orjson.dumps(to_plain(request), option=orjson.OPT_SORT_KEYS)
    return SubmitJob(
        command_id=ticket.command_id,
        user_id=user_id,
        job_id=ticket.job_id,
        pool=request.model,
        request=request,
        request_hash=request_hash(canonical),
        append_by=ticket.append_by,
        origin=origin,
    )


def generation_request(body: Any) -> GenerationRequest | Invalid:
    """The request that will be made for a JSON body of either form (``schemas.api.openv``)."""
    if not isinstance(body, Mapping):
        return Invalid((FieldError(field="body", message="must be a JSON object"),))
    return _original(body) if "input" in body else _flat(body)


def _original(body: Mapping[str, Any]) -> GenerationRequest | Invalid:
    try:
        read = OriginalBody.model_validate(body)
    except ValidationError as error:
        return Invalid(original_errors(error))
    if not read.prompt.strip():
        return Invalid((FieldError(field="prompt", message="String must contain at least 1 character(s)"),))
    return request_of(read.input, read.prompt, read.model)


def _flat(body: Mapping[str, Any]) -> GenerationRequest | Invalid:
    try:
        read = GenerateBody.model_validate(body)
    except ValidationError as error:
        return Invalid(field_errors(error))
    return request_of(read, read.prompt, read.model)


def request_of(read: GenerateBody | OriginalInput, prompt: str, model: str) -> GenerationRequest:
    """What will be made of fields that are right: sizes and lengths rounded down."""
    return GenerationRequest(
        prompt=prompt.strip(),
        negative_prompt=read.negative_prompt.strip(),
        width=whole_pixels(read.width),
        height=whole_pixels(read.height),
        num_frames=whole_frames(read.num_frames),
        steps=read.steps,
        cfg=read.cfg,
        seed=read.seed,
        model=model,
    )


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """A line for everything that is wrong with a body of the flat form."""
    lines: list[FieldError] = []
    for one in error.errors(include_url=False, include_input=False):
        alias = str(one["loc"][0]) if one["loc"] else "body"
        field = FIELD_OF_ALIAS.get(alias, alias)
        lines.append(FieldError(field=field, message=words(one["type"], one.get("ctx", {}), range_words(field))))
    return tuple(lines)
