"""What a worker posts as the end of a job, read as far as it may be large."""

from starlette.requests import ClientDisconnect, Request

from gateway.core.worker_words import HEAD, UPDATE_BYTES, looks_like_update
from gateway.errors import Problem, Refused
from schemas.api.runpod import RUNSYNC_BYTES

MEGABYTE = 1024 * 1024
TOO_LARGE = f"A worker's answer may have {RUNSYNC_BYTES // MEGABYTE} MB; store more elsewhere and answer with its URL."
UPDATE_LARGE = f"A progress update may have {UPDATE_BYTES // 1024} KB."


async def result_body(request: Request) -> bytes | None:
    """The body, or None: it is too large for a result. Raises ``Refused``: it is too large for an update."""
    size = request.headers.get("content-length", "0")
    too_large = size.isdecimal() and (len(size) > 15 or int(size) > RUNSYNC_BYTES)
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            too_large = too_large or len(body) > RUNSYNC_BYTES
            if too_large and len(body) >= HEAD:  # which of the two it is can't be told earlier
                break
    except ClientDisconnect:
        raise Refused(Problem.BAD_BODY) from None
    if too_large and looks_like_update(bytes(body[:HEAD])):
        raise Refused(Problem.TOO_LARGE, words=UPDATE_LARGE, limitBytes=UPDATE_BYTES)
    if too_large:
        return None
    return bytes(body)
