"""``/openapi.json``, ``/asyncapi.json`` and ``/docs``, the page that shows the first. All are public: they hold nothing
but what the source does, and this gateway's own address."""

from functools import lru_cache

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from gateway.http.page import ALONE, CONSOLE
from gateway.parts import parts_of
from gateway.spec.asyncapi import asyncapi
from gateway.spec.openapi import openapi

_JSON = "application/json"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@lru_cache(maxsize=8)
def _openapi(origin: str) -> bytes:
    return orjson.dumps(openapi(origin))


@lru_cache(maxsize=8)
def _asyncapi(origin: str) -> bytes:
    return orjson.dumps(asyncapi(origin))


# Not ``async``: Starlette runs these two in a thread, for the first one of each takes a fifth of a second to make, in
# which the loop would write to no socket.
def openapi_json(request: Request) -> Response:
    return Response(_openapi(parts_of(request).settings.origin), media_type=_JSON)


def asyncapi_json(request: Request) -> Response:
    return Response(_asyncapi(parts_of(request).settings.origin), media_type=_JSON)


async def docs(_: Request) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", **ALONE}
    return FileResponse(CONSOLE / "docs.html", media_type="text/html", headers=headers)


ROUTES = [
    Route("/openapi.json", openapi_json, methods=["GET"]),
    Route("/asyncapi.json", asyncapi_json, methods=["GET"]),
    Route("/docs", docs, methods=["GET"]),
]
