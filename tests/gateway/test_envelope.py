"""What stands around every request: its headers, its one line in the log, and the trace that they name."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import get_contextvars, merge_contextvars

from gateway.middleware import HEADERS, Envelope
from repo import tracing
from repo.tracing_sdk import SdkTracer
from schemas.traces import trace_id_of
from tests.gateway.world import World

Headers = list[tuple[bytes, bytes]]


@pytest.fixture
def traced() -> Iterator[None]:
    tracing.use(SdkTracer(InMemorySpanExporter(), Resource.get_empty(), 1.0))
    yield
    tracing.close(5)


async def enveloped(given: Headers, asked: Headers) -> Headers:
    """The headers of an answer that a handler gave with ``given``, to a request that came with ``asked``."""
    sent: list[dict[str, Any]] = []

    async def handler(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": tuple(given)})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def keep(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": asked}
    await Envelope(handler)(scope, receive, keep)
    return list(sent[0]["headers"])


async def test_an_answer_gets_what_it_lacks_and_keeps_what_it_says() -> None:
    given = [
        (b"Cache-Control", b"max-age=60"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"X-Request-Id", b"?"),
    ]
    answered = await enveloped(given, [(b"x-request-id", b"asked-with-this")])
    assert answered[:3] == given[:3]
    assert [value for name, value in answered if name.lower() == b"x-request-id"] == [b"asked-with-this"]
    told = {name.decode(): value.decode() for name, value in answered[3:-1]}
    assert told == {name.lower(): value for name, value in HEADERS.items() if name != "Cache-Control"}


async def test_nothing_of_a_request_stays_bound() -> None:
    structlog.contextvars.bind_contextvars(request_id="before")
    try:
        await enveloped([], [])
        assert get_contextvars() == {"request_id": "before"}
    finally:
        structlog.contextvars.clear_contextvars()


async def test_the_line_of_a_submission_names_job_and_user(world: World) -> None:
    async with world.client() as http:
        with structlog.testing.capture_logs(processors=[merge_contextvars]) as logs:
            job_id = (await http.post("/api/runpod", json={"prompt": "a"})).json()["jobId"]
            await http.get("/api/usage")
    posted, asked = [one for one in logs if one["event"] == "request"]
    assert (posted["path"], posted["job_id"], "trace_id" in posted) == ("/api/runpod", job_id, False)
    assert posted["user_id"] == asked["user_id"]
    assert "job_id" not in asked


async def test_where_requests_are_traced_their_lines_name_the_trace(world: World, traced: None) -> None:
    async with world.client() as http:
        with structlog.testing.capture_logs(processors=[merge_contextvars]) as logs:
            job_id = (await http.post("/api/runpod", json={"prompt": "a"})).json()["jobId"]
            await http.get("/api/usage")
    posted, asked = [one for one in logs if one["event"] == "request"]
    assert posted["trace_id"] == trace_id_of(job_id)
    assert len(asked["trace_id"]) == 32
    assert asked["trace_id"] != posted["trace_id"]
