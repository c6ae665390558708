"""What jobs keep in the object store besides files: JSON values that are too large for a message, and read back; and
the addresses of finished videos."""

from typing import Any

import orjson

from repo.core.object_keys import file_key, input_key
from repo.stores import ObjectStores
from schemas.api.runpod import INLINE_BYTES
from schemas.ids import request_hash
from schemas.jobs import Job, Output
from schemas.lifecycle import State
from schemas.requests import GenerationRequest

JSON = "application/json"


class LostValue(Exception):
    """What a document refers to is not in the object store (any more)."""


class UnknownStore(Exception):
    """A document names a store that is not configured here."""

    def __init__(self, name: str | None) -> None:
        super().__init__(f"the store {name} is not known here: set S3_FALLBACK_* as on the workers")
        self.name = name


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
    """The JSON text of ``{input, s3Config?}``, as it was stored. Raises ``Unavailable``, ``LostValue``."""
    return await _stored(objects, request.input, request.input_key) or b'{"input":null}'


async def stored_word(objects: ObjectStores, output: Output | None) -> bytes | None:
    """The JSON text of ``{output?, error?}``, as ``output_of`` stored it. Raises as ``stored_input``."""
    return None if output is None else await _stored(objects, output.value, output.value_key)


async def read_input(objects: ObjectStores, request: GenerationRequest) -> dict[str, Any]:
    """``{input, s3Config?}`` of an external job. Raises ``Unavailable`` and ``LostValue``."""
    given: dict[str, Any] = orjson.loads(await stored_input(objects, request))
    return given


async def video_address(objects: ObjectStores, job: Job, *, expires_s: int) -> str | None:
    """Where anyone may read the finished video for so long; None where there is none. Raises ``UnknownStore``."""
    output = job.output
    if job.state is not State.COMPLETED or output is None:
        return None
    if output.video is None:
        return output.remote_url
    store = objects.named(output.video.store)
    if store is None:
        raise UnknownStore(output.video.store)
    return await store.signed_url(output.video.key, expires_s=expires_s)


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
