"""The OpenAPI 3.1 document: the table of operations, with the models that read and write their bodies."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from gateway.core.origins import cookie_name
from gateway.errors import PROBLEMS, Problem, Refused, Told
from gateway.refusals import FORMS, Form
from gateway.spec.described import Described, Key
from gateway.spec.operation import PATH_PARAMETERS, SAFE, Access, Operation, Reply
from gateway.spec.table import OPERATIONS
from schemas.api.answers import ErrorBody, MessageBody
from schemas.api.openai import OpenAIError
from schemas.api.webhooks import Told as WebhookTold
from schemas.deliveries import WebhookEvent

JSON = "application/json"
# By the member that carries the words, in OpenV's form.
_BODIES: Mapping[str, type] = {"error": ErrorBody, "message": MessageBody}
ABOUT = (
    "Videos from words. Every protected operation takes an API key as `Authorization: Bearer ov_…`; pages of the "
    "gateway act with its cookie, and unsafe operations with a cookie need an `Origin` that is the gateway's own or "
    "one that its operator allows. Refusals carry words for a person in `error`, or in `message` where OpenV does. "
    "Live progress comes over `/ws`: see `/asyncapi.json`."
)
_RETRY_AFTER = {"description": "Seconds after which another try makes sense.", "schema": {"type": "integer"}}
_REQUEST_ID = {
    "description": "Names this request in the log. A request may bring its own, 8 to 64 of `A-Z a-z 0-9 . _ -`.",
    "schema": {"type": "string"},
}


def openapi(origin: str, operations: Iterable[Operation] = OPERATIONS) -> dict[str, Any]:
    """The document of a gateway that browsers reach at ``origin``."""
    rows = tuple(operations)
    described = Described(_models(rows))
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method] = _operation(row, described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenV",
            "version": version("openv"),
            "summary": "Self-hosted, event-driven video generation.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": origin}],
        "tags": [{"name": name} for name in dict.fromkeys(row.tag for row in rows)],
        "paths": paths,
        "webhooks": {event.value: {"post": _told(event, described)} for event in WebhookEvent},
        "components": {
            "schemas": described.components,
            "headers": {"X-Request-Id": _REQUEST_ID},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`openv keys create`), or a session token of the identity provider.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie_name(origin),
                    "description": "The page's session. HttpOnly, SameSite=Strict, over HTTPS also Secure and bound "
                    "to the host.",
                },
                "workerKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "A key of the endpoint's workers (`openv endpoints key`), as it is or as a Bearer.",
                },
            },
        },
    }


def _models(rows: Iterable[Operation]) -> Iterable[Key]:
    yield from ((model, "serialization") for model in (*_BODIES.values(), OpenAIError, WebhookTold))
    for row in rows:
        if row.body is not None:
            yield row.body, "validation"
        yield from ((reply.model, "serialization") for reply in row.replies.values() if reply.model is not None)


def _operation(row: Operation, described: Described) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": row.name, "tags": [row.tag], "summary": row.summary}
    if row.words:
        made["description"] = row.words
    made["security"] = _security(row)
    made["parameters"] = _parameters(row)
    if row.body is not None:
        content: dict[str, Any] = {"schema": described.of(row.body, "validation")}
        if row.body_example is not None:
            content["example"] = row.body_example
        made["requestBody"] = {"required": row.body_required, "content": dict.fromkeys(row.body_media, content)}
    replies = {status: _reply(reply, described) for status, reply in row.replies.items()}
    refusals = _refusals(row.refusals(), row.form, described)
    responses = replies | {status: _joined(row, status, replies, one) for status, one in refusals.items()}
    made["responses"] = {str(status): one for status, one in sorted(responses.items())}
    return made


def _told(event: WebhookEvent, described: Described) -> dict[str, Any]:
    """What a user's endpoint is sent."""
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": f"told.{event.value}",
        "summary": f"{event.value}, to an endpoint of `createWebhook`",
        "description": "Signed by Standard Webhooks 1.0.0. `webhook-id` is the same at every try.",
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in headers
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": described.of(WebhookTold, "serialization")}}},
        "responses": {"2XX": {"description": "Taken."}, "410": {"description": "Send nothing more to this endpoint."}},
    }


def _joined(row: Operation, status: int, replies: dict[int, dict[str, Any]], refusal: dict[str, Any]) -> dict[str, Any]:
    """The refusal, with an answer of the same status that is not JSON."""
    reply = replies.get(status)
    if reply is None:
        return refusal
    content = reply.get("content", {})
    if not content or JSON in content:
        raise ValueError(f"{row.name}: {status} both as an answer and as a refusal")
    words = f"{reply['description']} {refusal['description']}"
    return refusal | {"description": words, "content": content | refusal["content"]}


def _security(row: Operation) -> list[dict[str, list[str]]]:
    if row.access is Access.WORKER:
        return [{"workerKey": []}]
    scope = row.access.scope
    if scope is None:
        return []
    return [{"bearer": [scope.value]}, {"cookie": [scope.value]}]


def _parameters(row: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    made = [{"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]} for name in names]
    made += [
        {"name": one.name, "in": one.where, "required": one.required}
        | {"description": one.words, "schema": dict(one.schema)}
        for one in row.parameters
    ]
    if row.access.scope is not None and row.method not in SAFE:
        made.append(
            {
                "name": "Origin",
                "in": "header",
                "required": False,
                "description": "Sent by browsers. Looked at where the caller shows a cookie.",
                "schema": {"type": "string"},
            }
        )
    return made


def _reply(reply: Reply, described: Described) -> dict[str, Any]:
    made: dict[str, Any] = {"description": reply.words, "headers": _headers(reply.headers)}
    if reply.model is not None:
        content: dict[str, Any] = {"schema": described.of(reply.model, "serialization")}
        if reply.example is not None:
            content["example"] = reply.example
        made["content"] = {JSON: content}
    elif reply.media is not None:
        made["content"] = {reply.media: {"schema": {"type": "string"}}}
    if reply.links:
        made["links"] = {name: {"operationId": name, "parameters": dict(where)} for name, where in reply.links.items()}
    return made


def _headers(named: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {name: {"description": words, "schema": {"type": "string"}} for name, words in named.items()}
    return made | {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}


def _refusals(problems: Iterable[Problem], form: Form, described: Described) -> dict[int, dict[str, Any]]:
    """By status: the words of every refusal that has it, and an example of each."""
    by_status: dict[int, dict[Problem, Told]] = {}
    for problem in problems:
        told = FORMS[form](Refused(problem))
        by_status.setdefault(told.status, {})[problem] = told
    made = {}
    for status, those in by_status.items():
        headers = _headers({})
        if any(PROBLEMS[one].retry_after or "Retry-After" in told.headers for one, told in those.items()):
            headers["Retry-After"] = _RETRY_AFTER
        models = [OpenAIError] if form is Form.OPENAI else [_BODIES[PROBLEMS[one].member] for one in those]
        shapes = [described.of(model, "serialization") for model in dict.fromkeys(models)]
        schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        examples = {
            one.value: {"summary": PROBLEMS[one].words, "value": dict(told.body)} for one, told in those.items()
        }
        content = {JSON: {"schema": schema, "examples": examples}}
        words = HTTPStatus(status).phrase + ": " + ", ".join(f"`{one.value}`" for one in those)
        made[status] = {"description": words, "headers": headers, "content": content}
    return made
