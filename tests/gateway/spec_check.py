"""Real answers held against the OpenAPI document: the status must be declared, the type too, and the body must be what
its schema says, without a member that the document does not know."""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
from starlette.routing import compile_path

from gateway.spec.openapi import openapi

ORIGIN = "http://videos.test"


@cache
def document() -> dict[str, Any]:
    """The document, as ``/openapi.json`` serves it."""
    return openapi(ORIGIN)


@cache
def _closed() -> dict[str, Any]:
    """The components, none of which has members besides those that it names."""
    components: dict[str, Any] = deepcopy(dict(document()["components"]["schemas"]))
    for schema in components.values():
        if "properties" in schema and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
    return components


@cache
def _checker(schema: str) -> Any:
    whole = {**json.loads(schema), "components": {"schemas": _closed()}}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def fits(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value, a line each."""
    found = _checker(json.dumps(schema)).iter_errors(value)
    return [f"{list(error.instance_path)}: {error.message[:200]}" for error in found]


@cache
def _paths() -> list[tuple[Any, str]]:
    return [(compile_path(path)[0], path) for path in document()["paths"]]


def operation(method: str, path: str) -> dict[str, Any] | None:
    """The row that describes this request; None for an address or a method that is not in the document."""
    for pattern, template in _paths():
        if pattern.match(path):
            found: dict[str, Any] | None = document()["paths"][template].get(method.lower())
            return found
    return None


def wrong(method: str, path: str, status: int, headers: Mapping[str, str], body: httpx.Response | bytes) -> list[str]:
    """What the document does not say about this answer, a line each."""
    content = body if isinstance(body, bytes) else body.content
    described = operation(method, path)
    if described is None or status == 500:
        return []
    responses = described["responses"]
    if str(status) not in responses:
        return [f"{method} {path}: {status} is not declared: {content[:200]!r}"]
    declared = responses[str(status)].get("content", {})
    media = headers.get("content-type", "").partition(";")[0]
    if not declared:
        return [f"{method} {path}: {status} has a body"] if content else []
    if media not in declared:
        return [f"{method} {path}: {status} is {media!r}, declared is {list(declared)}"]
    if media != "application/json":
        return []
    found = fits(declared[media]["schema"], json.loads(content))
    return [f"{method} {path} {status} {line}" for line in found]


async def check(response: httpx.Response) -> None:
    """For ``event_hooks``: every answer that a test gets is held against the document."""
    if response.request.method == "HEAD" or response.headers.get("content-type", "").startswith("text/event-stream"):
        return
    await response.aread()
    found = wrong(response.request.method, response.request.url.path, response.status_code, response.headers, response)
    assert not found, found
