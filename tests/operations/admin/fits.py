"""Every answer of the admin API that a test gets, held against its OpenAPI document."""

import json
from copy import deepcopy
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.routing import compile_path

from operations.admin.openapi import document
from operations.admin.table import OPERATIONS


@cache
def described() -> dict[str, Any]:
    """The document, none of whose models has members besides those that it names."""
    made = deepcopy(document(OPERATIONS))
    OPENAPI_31_VALIDATOR.validate(made)
    for schema in made["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return made


@cache
def _checker(schema: str) -> Any:
    whole = {**json.loads(schema), "components": described()["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@cache
def _paths() -> list[tuple[Any, str]]:
    # Those without names in them first: as the routes lie, one of a name would take what is another's.
    ordered = sorted(described()["paths"], key=lambda path: path.count("{"))
    return [(compile_path(path)[0], path) for path in ordered]


async def check(response: httpx.Response) -> None:
    """For ``event_hooks``: the status is declared, and the body is what its schema says."""
    await response.aread()
    path, method = response.request.url.path, response.request.method.lower()
    template = next((template for pattern, template in _paths() if pattern.match(path)), None)
    operation = described()["paths"].get(template, {}).get(method)
    if operation is None or response.status_code == 500:
        return
    declared = operation["responses"].get(str(response.status_code))
    assert declared is not None, (operation["operationId"], response.status_code, response.text[:300])
    schema = declared["content"]["application/json"]["schema"]
    wrong = [
        f"{list(e.instance_path)}: {e.message[:200]}" for e in _checker(json.dumps(schema)).iter_errors(response.json())
    ]
    assert not wrong, (operation["operationId"], wrong)
