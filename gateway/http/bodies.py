"""Request bodies: bounded while they arrive, JSON when they are there."""

from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from gateway.errors import Problem, Refused


class BodyTooLargeError(Exception):
    """It has, or says that it has, more bytes than are taken."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises ``Refused`` when it is larger than ``limit`` bytes, before it is all read."""
    try:
        return await whole_body(request, limit)
    except BodyTooLargeError:
        raise Refused(Problem.TOO_LARGE, limitBytes=limit) from None
    except ClientDisconnect:
        raise Refused(Problem.BAD_BODY) from None


async def whole_body(request: Request, limit: int) -> bytes:
    """For whoever refuses in words of their own. Raises ``BodyTooLargeError`` and, of a body that was broken off,
    ``ClientDisconnect``."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise BodyTooLargeError
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise BodyTooLargeError
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request, limit: int, problem: Problem = Problem.NOT_JSON) -> Any:
    """The body as JSON (RFC 8259: no NaN, no lone surrogates, nested at most 1024 deep). Raises ``Refused``.

    What the client calls its type is not looked at: there are clients that send JSON under another name.
    """
    body = await read_body(request, limit)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(problem) from None
