"""What an admin process shows of itself: its requests by route, its works by outcome, and its part of a job's trace."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from operations.admin import works as module
from operations.admin.metrics import AdminMetrics
from operations.admin.works import Kind, Works
from operations.audit.recording import Actor
from operations.core.works import LEASE_MS
from operations.stack.errors import StackError
from repo import tracing
from repo.clock import now_ms
from repo.memory_works import MemoryWorkStore
from repo.tracing_sdk import SdkTracer
from schemas.lifecycle import State
from schemas.topics import COMMANDS
from schemas.traces import HEADER, trace_id_of
from schemas.works import WorkState
from tests.gateway.world import eventually, job
from tests.operations.admin.house import House, opened

ROOT = Actor("root/ov_abcdef", "api", "192.0.2.1")
SECRET = "the password is hunter2"
LATE = LEASE_MS * 10


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened() as made:
        yield made


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(SdkTracer(exporter, Resource.get_empty(), 1.0))
    yield exporter
    tracing.close(5)


def counted(metrics: AdminMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_the_template_of_their_route(house: House) -> None:
    async with house.admin() as admin:
        for job_id in ("waits", "0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55"):
            assert (await admin.get(f"/jobs/{job_id}")).status_code == 404
        assert (await admin.get("/nowhere/hunter2")).status_code == 404
        assert (await admin.request("BREW", "/jobs")).status_code == 405
        assert (await admin.get("/readyz")).status_code == 200
    async with house.client() as anyone:
        assert (await anyone.get("/jobs")).status_code == 401
    name = "openv_http_requests_total"
    assert counted(house.metrics, name, route="/jobs/{job_id}", method="GET", status="4xx") == 2
    assert counted(house.metrics, name, route="none", method="GET", status="4xx") == 1
    assert counted(house.metrics, name, route="/jobs", method="GET", status="4xx") == 1
    assert counted(house.metrics, name, route="/readyz", method="GET", status="2xx") == 1
    seconds = "openv_http_request_duration_seconds_count"
    assert counted(house.metrics, seconds, route="/jobs/{job_id}", method="GET") == 2
    assert counted(house.metrics, "openv_http_requests_in_flight") == 0
    shown = {
        value for family in house.metrics.registry.collect() for one in family.samples for value in one.labels.values()
    }
    assert not [value for value in shown if "hunter2" in value or "0b8f8d5e" in value or value == "BREW"]


async def test_what_an_admin_does_to_a_job_is_in_the_jobs_trace(house: House, kept: InMemorySpanExporter) -> None:
    waits = job("0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55", state=State.QUEUED, at=now_ms())
    assert await house.database.jobs.store_job(waits, 0)
    async with house.admin() as admin:
        answer = await admin.post(f"/jobs/{waits.job_id}/cancel", json={"reason": SECRET})
        assert answer.status_code == 200, answer.text
        assert (await admin.get("/jobs")).status_code == 200
    tracing.close(5)
    spans = {span.name: span for span in kept.get_finished_spans()}
    request, sent = spans["POST /jobs/{job_id}/cancel"], spans["send openv.commands"]
    assert f"{request.context.trace_id:032x}" == f"{sent.context.trace_id:032x}" == trace_id_of(waits.job_id)
    assert sent.parent is not None
    assert sent.parent.span_id == request.context.span_id
    (record,) = house.log.records(COMMANDS.name)
    assert record.header(HEADER) == f"00-{trace_id_of(waits.job_id)}-{sent.context.span_id:016x}-01"
    assert spans["GET /jobs"].context.trace_id != request.context.trace_id
    assert "hunter2" not in "".join(span.to_json() for span in spans.values())


@asynccontextmanager
async def a_process(
    store: MemoryWorkStore, run: Callable[..., Awaitable[Any]], now: Callable[[], int], *, resumable: bool
) -> AsyncIterator[tuple[Works, AdminMetrics]]:
    metrics = AdminMetrics(None, ["kind"])
    works = Works(store, {"kind": Kind(run, resumable)}, now, metrics)
    async with works.running():
        yield works, metrics


def outcomes(metrics: AdminMetrics) -> dict[str, float]:
    """How many works left it how; nothing of what never happened, though all of it is shown from the beginning."""
    names = ("done", "failed", "defect", "given_up", "lost", "released")
    told = {
        one: metrics.registry.get_sample_value("openv_admin_works_ended_total", {"kind": "kind", "outcome": one})
        for one in names
    }
    assert None not in told.values()
    return {name: value for name, value in told.items() if value}


async def test_works_are_counted_by_how_they_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    held = asyncio.Event()

    async def run(arguments: Any, _: Actor) -> Any:
        match arguments["how"]:
            case "fails":
                raise StackError("Name a folder.")
            case "breaks":
                raise RuntimeError(SECRET)
            case "hangs":
                held.set()
                await asyncio.Event().wait()

    store = MemoryWorkStore()
    async with a_process(store, run, lambda: 1, resumable=False) as (works, metrics):
        for how in ("works", "fails", "breaks"):
            await works.begin("kind", {"how": how}, ROOT)
        await eventually(lambda: _is({"done": 1.0, "failed": 1.0, "defect": 1.0}, metrics))
        assert counted(metrics, "openv_admin_work_seconds_count", kind="kind") == 3
        last = await works.begin("kind", {"how": "hangs"}, ROOT)
        await held.wait()
        assert counted(metrics, "openv_admin_works_running") == 1
    assert outcomes(metrics)["released"] == 1
    assert counted(metrics, "openv_admin_works_running") == 0
    assert counted(metrics, "openv_admin_work_seconds_count", kind="kind") == 3, "it did not come to its end"
    async with a_process(store, run, lambda: LATE, resumable=False) as (_, metrics):
        await eventually(lambda: _is({"given_up": 1.0}, metrics))
    ended = await store.work(last.work_id)
    assert ended is not None
    assert ended.state is WorkState.FAILED


async def _is(wanted: dict[str, float], metrics: AdminMetrics) -> bool:
    return outcomes(metrics) == wanted
