"""Rows of usage, health, the pages and the specifications themselves."""

from typing import Any

from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Parameter, Reply
from schemas.api.answers import Health, Readiness
from schemas.api.usage import Usage

P = Problem
_HTML = "text/html"

OPERATIONS = (
    Operation(
        method="get",
        path="/api/usage",
        name="getUsage",
        tag="Account",
        summary="What the caller has left, and the limits of a request",
        replies={200: Reply("Where the caller stands in the running period.", Usage)},
        problems=(P.RATE, P.DAMAGED),
    ),
    Operation(
        method="get",
        path="/healthz",
        name="getHealth",
        tag="Service",
        access=Access.OPEN,
        summary="Whether the process answers",
        replies={200: Reply("It does.", Health, example={"status": "ok"})},
    ),
    Operation(
        method="get",
        path="/readyz",
        name="getReadiness",
        tag="Service",
        access=Access.OPEN,
        summary="Whether the gateway can do its work",
        replies={
            200: Reply("It can.", Readiness, example={"ready": True, "missing": [], "degraded": []}),
            503: Reply("It can't: `missing` says why.", Readiness, headers={"Retry-After": "Seconds."}),
        },
    ),
    Operation(
        method="get",
        path="/",
        name="getPage",
        tag="Service",
        access=Access.OPEN,
        summary="The page",
        parameters=(Parameter("token", "A one-time token, exchanged for the page's cookie.", {"type": "string"}),),
        replies={
            200: Reply("The page.", media=_HTML),
            303: Reply("Come back without the token.", headers={"Location": "`/`, or `/#token-used`."}),
        },
        problems=(P.UNAVAILABLE,),
    ),
    Operation(
        method="get",
        path="/docs",
        name="getDocs",
        tag="Service",
        access=Access.OPEN,
        summary="This document as a page",
        replies={200: Reply("The page.", media=_HTML)},
    ),
    Operation(
        method="get",
        path="/openapi.json",
        name="getOpenApi",
        tag="Service",
        access=Access.OPEN,
        summary="This document: OpenAPI 3.1",
        replies={200: Reply("The document.", dict[str, Any])},
    ),
    Operation(
        method="get",
        path="/asyncapi.json",
        name="getAsyncApi",
        tag="Service",
        access=Access.OPEN,
        summary="The sockets and topics: AsyncAPI 3.0",
        replies={200: Reply("The document.", dict[str, Any])},
    ),
)
