"""The OpenAPI document: valid, whole, true to the routes, and the same models as the bodies."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import orjson
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from gateway.errors import PROBLEMS, Problem, Refused
from gateway.refusals import FORMS, Form
from gateway.spec.operation import Access, Operation
from gateway.spec.table import OPERATIONS
from schemas.api.openv import GenerateBody
from schemas.deliveries import WebhookEvent
from schemas.failures import FailureCode
from schemas.jobs import Failure
from schemas.lifecycle import State
from streams.core.notices import body_of
from tests.gateway.rows_and_routes import raised_by, routes
from tests.gateway.spec_check import document, fits, wrong
from tests.gateway.world import World, job

P = Problem
# Raised by what these routes share with others: for commands that the ledger never refuses in that way, or where they
# say it in words of their own.
OF_A_SUBMISSION = {P.QUOTA, P.CONCURRENCY, P.CREDITS, P.BLOCKED, P.KEY_REUSED, P.REFUSED}
NEVER = {
    "makeVideo": {P.NOT_FOUND, P.VOUCHER_USED},
    "cancelVideo": {*OF_A_SUBMISSION, P.VOUCHER_USED},
    "retryVideo": {P.KEY_REUSED, P.VOUCHER_USED},
    "openaiCreateVideo": {P.NOT_FOUND, P.VOUCHER_USED},
    "openaiDeleteVideo": {*OF_A_SUBMISSION, P.VOUCHER_USED},
    "runJob": {P.NO_JOB},
    "runJobSync": {P.NO_JOB},
    "cancelJob": {P.QUOTA, P.QUEUE_FULL, P.CREDITS, P.BLOCKED, P.KEY_REUSED, P.REFUSED},
    # A job's refusal is counted, not told.
    "purgeQueue": {P.NO_JOB, P.QUOTA, P.QUEUE_FULL, P.CREDITS, P.BLOCKED, P.KEY_REUSED, P.REFUSED},
    "retryJob": {P.KEY_REUSED},
    "deleteVideos": {*OF_A_SUBMISSION, P.NOT_FOUND, P.NOT_JSON, P.VOUCHER_USED},
    "createVoucher": {P.NOT_JSON},
    "redeemVoucher": {P.NOT_JSON},
    "hearOfJob": {P.NOT_JSON},
}
# What a gateway answers where a port raises ``Unavailable``, which no handler names.
BY_PORTS = {P.UNAVAILABLE}


def unreachable(row: Operation) -> set[Problem]:
    """What the guard raises for others than this row, and what a client is told that has gone amidst its body."""
    nobody = {P.UNAUTHORIZED, P.NO_CALLER, P.NO_KEY, P.NO_WORKER_KEY}
    others = nobody | {P.ADMIN_ONLY, P.TERMS, P.FORBIDDEN_ORIGIN, P.BAD_BODY}
    return NEVER.get(row.name, set()) | (others - set(row.refusals()))


def handlers(world: World) -> dict[tuple[str, str], Any]:
    return {(method, path): handler for method, path, handler in routes(world.app.routes)}


async def test_every_route_has_its_row_and_every_row_its_route(world: World) -> None:
    rows = [(row.method, row.path) for row in OPERATIONS]
    assert len(rows) == len(set(rows))
    assert set(rows) == set(handlers(world))
    assert len({row.name for row in OPERATIONS}) == len(OPERATIONS)


async def test_a_row_names_the_refusals_of_its_code_and_no_others(world: World) -> None:
    found = handlers(world)
    for row in OPERATIONS:
        raised = raised_by(found[row.method, row.path]) - unreachable(row)
        declared = set(row.refusals())
        assert raised - declared == set(), f"{row.name} may refuse so and its row does not say it"
        assert declared - raised <= BY_PORTS, f"{row.name} never refuses so"


async def test_what_is_never_raised_is_named_by_the_code_all_the_same(world: World) -> None:
    """Else an exception would outlive its reason."""
    found = handlers(world)
    for row in OPERATIONS:
        if row.name in NEVER:
            assert NEVER[row.name] <= raised_by(found[row.method, row.path]), row.name
    assert set(NEVER) <= {row.name for row in OPERATIONS}


async def test_a_row_that_forgets_a_refusal_would_be_seen(world: World) -> None:
    raised = raised_by(handlers(world)["post", "/api/runpod"])
    assert {P.BAD_KEY, P.INVALID, P.NOT_JSON, P.TOO_LARGE, P.RESTRICTED, P.SCOPE, P.QUOTA, P.RATE} <= raised
    assert P.BAD_QUERY not in raised


def test_the_document_is_valid_openapi() -> None:
    assert list(OPENAPI_31_VALIDATOR.iter_errors(document())) == []
    for spoil in (
        lambda one: one.pop("info"),
        lambda one: one["paths"]["/api/videos"]["get"].update(responses=[]),
        lambda one: one["components"].update(securitySchemes={"bearer": {"type": "magic"}}),
    ):
        broken = deepcopy(document())
        spoil(broken)
        assert list(OPENAPI_31_VALIDATOR.iter_errors(broken))


def defaults(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "default" in node and ("type" in node or "$ref" in node):
            yield node
        for value in node.values():
            yield from defaults(value)
    elif isinstance(node, list):
        for value in node:
            yield from defaults(value)


def test_every_default_is_what_its_own_schema_allows() -> None:
    """Generators of clients take defaults at their word."""
    found = list(defaults(document()))
    assert found
    assert [one for one in found if fits(one, one["default"])] == []


def test_what_endpoints_are_told_is_described() -> None:
    told = document()["webhooks"]["video.failed"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    made = replace(
        job("j-1", state=State.FAILED), failure=Failure(code=FailureCode.ENGINE_ERROR, message="out of luck")
    )
    body = orjson.loads(body_of(made, WebhookEvent.FAILED, "https://videos.example.org"))
    assert fits(told, body) == []
    assert fits(told, {**body, "data": {}})


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere_and_every_shape_is_used() -> None:
    whole = document()
    used = set(references(whole))
    for reference in used:
        node: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    shapes = {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
    assert shapes <= used


def test_every_refusal_is_declared_with_its_words() -> None:
    for row in OPERATIONS:
        responses = document()["paths"][row.path][row.method]["responses"]
        for problem in row.refusals():
            said = FORMS[row.form](Refused(problem))
            example = responses[str(said.status)]["content"]["application/json"]["examples"][problem.value]
            assert example["summary"] == PROBLEMS[problem].words
            assert example["value"] == said.body
            if row.form is Form.OPENV:
                assert said.body[PROBLEMS[problem].member] == PROBLEMS[problem].words
                assert said.status == PROBLEMS[problem].status


def test_every_example_fits_its_schema() -> None:
    checked = 0
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (one for body in bodies for one in body.get("content", {}).values()):
                values = [content["example"]] if "example" in content else []
                values += [one["value"] for one in content.get("examples", {}).values()]
                for value in values:
                    assert fits(content["schema"], value) == [], (path, value)
                    checked += 1
    assert checked > 2 * len(OPERATIONS)


def test_a_request_body_is_described_as_it_is_read() -> None:
    schema = document()["components"]["schemas"]["GenerateBody"]
    assert set(schema["properties"]) == set(GenerateBody.model_fields)
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["steps"] == {"type": "integer", "minimum": 10, "maximum": 65, "default": 40}
    assert document()["components"]["schemas"]["JobDocument"]["properties"]["createdAt"] == {
        "type": "string",
        "format": "date-time",
    }


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_who_may_call_is_said(row: Operation) -> None:
    security = document()["paths"][row.path][row.method]["security"]
    scope = row.access.scope
    of_users: list[dict[str, list[Any]]] = [{"bearer": [scope]}, {"cookie": [scope]}]
    wanted = {Access.OPEN: [], Access.WORKER: [{"workerKey": []}]}.get(row.access, of_users)
    assert security == wanted


async def test_without_a_credential_exactly_the_open_ones_answer(world: World) -> None:
    async with world.client(None) as http:
        for row in OPERATIONS:
            path = row.path.replace("{job_id}", "x").replace("{kind}", "video").replace("{", "").replace("}", "")
            answer = await http.request(row.method, path, content=b"{}")
            closed = row.access is not Access.OPEN or P.NO_CALLER in row.problems
            assert (answer.status_code == 401) is closed, row.name


async def test_it_is_served_with_the_address_of_the_gateway(world: World) -> None:
    async with world.client(None) as http:
        served = await http.get("/openapi.json")
        assert served.headers["content-type"] == "application/json"
        assert served.json() == document()
        assert served.json()["servers"] == [{"url": "http://videos.test"}]


def test_what_the_document_does_not_say_is_seen() -> None:
    json = {"content-type": "application/json"}
    assert wrong("GET", "/healthz", 200, json, b'{"status":"ok"}') == []
    assert wrong("GET", "/healthz", 201, json, b'{"status":"ok"}')
    assert wrong("GET", "/healthz", 200, json, b'{"status":"bad"}')
    assert wrong("GET", "/healthz", 200, json, b'{"status":"ok","more":1}')
    assert wrong("GET", "/healthz", 200, {"content-type": "text/html"}, b'{"status":"ok"}')
    assert wrong("GET", "/api/videos", 400, json, b'{"message":"no error"}')
    assert wrong("GET", "/api/videos/x/video", 307, {}, b"a body")
