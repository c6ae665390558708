"""JSON values of external jobs that are too large for a message: kept in the object store, and read back."""

from collections.abc import Mapping
from typing import Any

import orjson

from repo.core.object_keys import file_key, input_key
from repo.stores import ObjectStores
from schemas.api.runpod import INLINE_BYTES
from schemas.ids import request_hash
from schemas.jobs import Output
from schemas.requests import GenerationRequest, external_request

JSON = "application/json"


class LostValue(Exception):
    """What a document refers to is not in the object store (any more)."""


async def input_of(
    objects: ObjectStores, user_id: str, job_id: str, value: Mapping[str, Any], *, secret: bool
) -> GenerationRequest:
    """The request that carries ``{input, s3Config?}``: in itself, or by reference where it is large or ``secret``.

    Raises ``Unavailable``.
    """
    text = orjson.dumps(value)
    if len(text) <= INLINE_BYTES and not secret:
        return external_request(text=text.decode())
    return external_request(key=await store_input(objects, user_id, job_id, text))


async def store_input(objects: ObjectStores, user_id: str, job_id: str, text: bytes) -> str:
    """Keep the JSON text of ``{input, s3Config?}``; its key. Raises ``Unavailable``."""
    key = input_key(user_id, job_id, request_hash(text))
    await objects.main.put_bytes(key, text, JSON)
    return key


async def output_of(
    objects: ObjectStores, user_id: str, job_id: str, attempt: int, worker_id: str, session: str, text: bytes
) -> Output:
    """What an external worker answered, JSON text: in itself, or by reference where it is large.

    Raises ``Unavailable``.
    """
    if len(text) <= INLINE_BYTES:
        return Output(value=text.decode())
    key = file_key(user_id, job_id, attempt, worker_id, session, "output")
    await objects.main.put_bytes(key, text, JSON)
    return Output(value_key=key)


async def stored_input(objects: ObjectStores, request: GenerationRequest) -> bytes:
    """The JSON text of ``{input, s3Config?}``, as ``input_of`` stored it. Raises ``Unavailable``, ``LostValue``."""
    return await _stored(objects, request.input, request.input_key) or b'{"input":null}'


async def stored_word(objects: ObjectStores, output: Output | None) -> bytes | None:
    """The JSON text of ``{output?, error?}``, as ``output_of`` stored it. Raises as ``stored_input``."""
    return None if output is None else await _stored(objects, output.value, output.value_key)


async def read_input(objects: ObjectStores, request: GenerationRequest) -> dict[str, Any]:
    """``{input, s3Config?}`` of an external job. Raises ``Unavailable`` and ``LostValue``."""
    return await _read(objects, request.input, request.input_key) or {"input": None}


async def read_word(objects: ObjectStores, output: Output | None) -> dict[str, Any] | None:
    """``{output?, error?}`` as the worker answered it, or None where there is none. Raises as ``read_input``."""
    return None if output is None else await _read(objects, output.value, output.value_key)


async def _read(objects: ObjectStores, text: str | None, key: str | None) -> dict[str, Any] | None:
    stored = await _stored(objects, text, key)
    if stored is None:
        return None
    value: dict[str, Any] = orjson.loads(stored)
    return value


async def _stored(objects: ObjectStores, text: str | None, key: str | None) -> bytes | None:
    """The text, None where there is none."""
    if text is not None:
        return text.encode()
    if key is None:
        return None
    stored = await objects.main.read(key)
    if stored is None:
        raise LostValue
    return stored
