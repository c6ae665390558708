"""The OpenAPI 3.1 document of the admin API, made of the rows; served to admins."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from gateway.spec.described import Described, Key
from operations.admin.answers import Problem as ProblemBody
from operations.admin.operation import Answer, Call, Nothing, Operation
from operations.admin.refusals import PROBLEMS, Problem, Refused, body_of

JSON = "application/json"
ABOUT = (
    "What `openv` does on the command line, for admins over HTTP. Every operation but `/healthz` and `/readyz` takes "
    "an API key of role admin with the scope admin as `Authorization: Bearer ov_…`; there are no cookies. Each change "
    "is in the audit before it is made, and as it ended, and so is each reading of what users wrote; what can't be "
    "written there is not done, and not shown."
)
AT_THE_DOOR = (Problem.UNAUTHORIZED, Problem.FORBIDDEN, Problem.TOO_MANY_TRIES, Problem.UNAVAILABLE)
NAMES: Mapping[str, str] = {
    "endpoint_id": "The name of a serverless endpoint.",
    "work_id": "The id of a long work.",
    "user_id": "A user's id.",
    "prefix": "The first nine characters of a key, as the list shows them; never the whole key.",
    "job_id": "A job's id.",
    "worker_id": "A worker's id.",
    "replay_id": "A replay's id.",
    "place": "Where the dead letter lies: partition-offset.",
}


def with_openapi(rows: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The rows, and the one that describes them and itself."""

    async def show(_: Call[Nothing, Nothing]) -> Answer:
        return Answer(document(everything))

    own = Operation(
        method="get",
        path="/openapi.json",
        name="getOpenApi",
        tag="Service",
        summary="This document: OpenAPI 3.1",
        reply=dict[str, Any],
        handler=show,
    )
    everything = (*rows, own)
    return everything


@lru_cache(maxsize=2)
def document(rows: tuple[Operation, ...]) -> dict[str, Any]:
    """What these rows are."""
    described = Described(_models(rows))
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method] = _operation(row, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenV admin", "version": version("openv"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in dict.fromkeys(row.tag for row in rows)],
        "paths": paths,
        "components": {
            "schemas": described.components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`openv keys create --role admin --scope admin`",
                }
            },
        },
    }


def _models(rows: Iterable[Operation]) -> Iterable[Key]:
    yield ProblemBody, "serialization"
    for row in rows:
        if row.body is not Nothing:
            yield row.body, "validation"
        if row.reply is not None:
            yield row.reply, "serialization"


def _operation(row: Operation, described: Described) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": row.name, "tags": [row.tag], "summary": row.summary}
    words = [row.words] if row.words else []
    if row.action is not None:
        asked = "" if row.audited_if is None else f" where `{row.audited_if}` is true"
        words.append(f"In the audit{asked}: `{row.action}`.")
    if words:
        made["description"] = "\n\n".join(words)
    made["parameters"] = [*_names(row), *_query(row)]
    if row.body is not Nothing:
        required = any(field.is_required() for field in row.body.model_fields.values())
        schema = described.of(row.body, "validation")
        made["requestBody"] = {"required": required, "content": {JSON: {"schema": schema}}}
    schema = {"type": "object"} if row.reply is None else described.of(row.reply, "serialization")
    made["responses"] = {
        str(status): {"description": HTTPStatus(status).phrase, "content": {JSON: {"schema": schema}}}
        for status in row.statuses
    } | _refusals(row, described)
    return made


def _names(row: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1}
    return [
        {"name": name, "in": "path", "required": True, "description": NAMES[name], "schema": schema} for name in names
    ]


def _query(row: Operation) -> list[dict[str, Any]]:
    schema = TypeAdapter(row.query).json_schema(mode="validation", ref_template="#/components/schemas/{model}")
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(one)}
        for name, one in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """In a query what is None is left out; there is no null."""
    kept = {name: value for name, value in schema.items() if name not in {"title", "default"} or value is not None}
    kept.pop("title", None)
    choices = [one for one in kept.pop("anyOf", []) if one != {"type": "null"}]
    return {**choices[0], **kept} if len(choices) == 1 else {**kept, **({"anyOf": choices} if choices else {})}


def _refusals(row: Operation, described: Described) -> dict[str, Any]:
    problems = [*AT_THE_DOOR, Problem.INVALID, *row.problems]
    if row.method != "get":
        problems += [Problem.REFUSED, Problem.NOT_JSON, Problem.TOO_LARGE]
    by_status: dict[int, list[Problem]] = {}
    for problem in dict.fromkeys(problems):
        by_status.setdefault(PROBLEMS[problem].status, []).append(problem)
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{one}`' for one in those)}",
            "content": {
                JSON: {
                    "schema": described.of(ProblemBody, "serialization"),
                    "examples": {one.value: {"value": body_of(Refused(one))} for one in those},
                }
            },
        }
        for status, those in sorted(by_status.items())
    }
