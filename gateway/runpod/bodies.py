"""Bodies of ``/run`` and ``/runsync``, which are larger than any other that the gateway takes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.requests import Request

from gateway.core.json_cost import is_too_costly
from gateway.errors import Problem, Refused
from gateway.http.bodies import read_body
from gateway.runpod.asked import Asked


@asynccontextmanager
async def large_json(request: Request, who: Asked, limit: int) -> AsyncIterator[list[Any]]:
    """The body as JSON, in a list that its reader may empty, while there is room for it. Raises ``Refused``.

    Small bodies need no room. The room is for the length that is declared, or the largest where none is: whoever is let
    in can finish.
    """
    declared = request.headers.get("content-length", "0")
    size = limit if "transfer-encoding" in request.headers or not declared.isdecimal() else int(declared)
    if size > limit:
        raise Refused(Problem.TOO_LARGE, limitBytes=limit)
    if size <= who.parts.settings.body_bytes:
        yield [_read(await read_body(request, size))]
        return
    async with who.parts.serverless.room.held(who.user_id, size):
        yield [_read(await read_body(request, limit))]


def _read(body: bytes) -> Any:
    if is_too_costly(body):
        raise Refused(Problem.TOO_NESTED)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(Problem.NOT_JSON) from None
