"""One job is one trace through all parts, whoever dies on the way; and no log of these parts says what nobody may read.

The processes are real; a collector of the test takes their spans.
"""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from schemas.traces import root_span_of, trace_id_of
from tests.end_to_end.fleet import Fleet, sailing
from tests.end_to_end.people import SMALL
from tests.end_to_end.stack import Frames, until
from tests.repo.collector import Collector, Kept
from tests.streams.receiver import Receiver, receiving

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(600)]

PROMPT = "a zyzzyva that nobody may read of"
THEIRS = "ab" * 16  # a trace of the client's own
NAMES = ("gateway-1", "streams-1", "worker-1", "worker-2")
QUICK = {
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OPENV_WEBHOOK_ALLOW_HTTP": "true",
    "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
}


class Traced:
    """A fleet whose spans are kept."""

    def __init__(self, fleet: Fleet, collector: Collector, receiver: Receiver) -> None:
        self.fleet = fleet
        self.collector = collector
        self.receiver = receiver

    async def spans(self, job_id: str, *wanted: str) -> list[Kept]:
        """The job's trace, once spans of these names and the parents of all are in it. A name may be followed by the
        state or the type that the span tells of."""
        trace_id = trace_id_of(job_id)

        async def look() -> list[Kept] | None:
            found = self.collector.of(trace_id)
            whole = {one.span_id for one in found} >= {one.parent_id for one in found if one.parent_id}
            return found if whole and told(found) >= set(wanted) else None

        try:
            return await until(look, "the spans", 60)
        except AssertionError:
            found = sorted(told(self.collector.of(trace_id)))
            missing = sorted(set(wanted) - set(found)) or "a parent"
            raise AssertionError(f"missing {missing}; there are {found}") from None

    def lines(self) -> list[str]:
        """Of every log of every process."""
        logs = [life.log for member in self.fleet.members.values() for life in member.lives]
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    root: Path = tmp_path_factory.mktemp("traces")
    with Collector() as collector:
        told = {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with receiving() as receiver, sailing(root, NAMES, **told) as fleet:
            # Consumer groups that still form read a job's document before they hear of it: its trace has gaps then.
            async with fleet.person("first") as first:
                await first.state((await first.submit("first", prompt="film first"))["jobId"], "completed")
            yield Traced(fleet, collector, receiver)


def told(spans: list[Kept]) -> set[str]:
    """Names, alone and with what they are about."""
    about = {f"{one.name} {one.attributes.get(key)}" for one in spans for key in ("openv.state", "openv.type")}
    return {one.name for one in spans} | about


def named(spans: list[Kept], name: str, **attributes: Any) -> list[Kept]:
    """Those of this name with these attributes (``_`` for a dot)."""
    wanted = {key.replace("_", "."): value for key, value in attributes.items()}
    return [one for one in spans if one.name == name and wanted.items() <= one.attributes.items()]


def check_tree(spans: list[Kept], job_id: str) -> None:
    """Everything hangs below the job's root, and nothing has two places."""
    by_id = {one.span_id: one for one in spans}
    assert len(by_id) == len(spans)
    assert by_id[root_span_of(job_id)].name == "job"
    for one in spans:
        assert one.attributes.get("openv.job.id", job_id) == job_id
        assert one.end >= one.start
        assert one.parent_id == "" if one.name == "job" else one.parent_id in by_id, one


async def test_one_job_is_one_trace_through_every_part(traced: Traced) -> None:
    async with traced.fleet.person("wilhelmine") as tina:
        hook = await tina.ask("POST", "/api/webhooks", json={"url": traced.receiver.url("/wilhelmine?token=hidden")})
        assert hook.status_code == 201, hook.text
        async with connect("ws" + tina.urls[0].removeprefix("http") + "/ws", proxy=None) as socket:
            frames = Frames(socket)
            await socket.send(json.dumps({"type": "auth", "token": tina.key}))
            await socket.send(json.dumps({"type": "subscribe"}))
            await frames.next(lambda frame: frame["type"] == "snapshot")
            body = {**SMALL, "prompt": f"film {PROMPT}"}
            headers = {"traceparent": f"00-{THEIRS}-{'cd' * 8}-01", "X-Request-Id": "asked-at-noon"}
            answer = await tina.ask("POST", "/api/runpod", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            job_id: str = answer.json()["jobId"]
            await frames.next(lambda frame: frame.get("data", {}).get("state") == "completed")
        spans = await traced.spans(
            job_id,
            "job",
            "POST /api/runpod",
            "send openv.commands",
            "process openv.commands",
            "send openv.events",
            "process openv.dispatch",
            "assign openv.assignments",
            "attempt",
            "denoise",
            "upload",
            "s3 put file",
            "process openv.events",
            "process openv.commands completed",
            "push dev.openv.job.completed.v1",
            "deliver webhook",
        )
    check_tree(spans, job_id)
    check_path(spans, job_id)
    assert len({one.instance for one in spans}) == 3  # gateway, streams, one worker
    assert all(one.trace_id != THEIRS for one in traced.collector.spans)
    words = b"".join(traced.collector.bodies)
    for secret in (PROMPT.encode(), tina.key.encode(), b"wilhelmine", b"hidden", b"whsec_"):
        assert secret not in words


def check_path(spans: list[Kept], job_id: str) -> None:
    """From the request to the worker and back, each step below the one that it follows from."""
    by_id = {one.span_id: one for one in spans}

    def above(span: Kept) -> list[str]:
        names: list[str] = []
        while span.parent_id:
            span = by_id[span.parent_id]
            names.append(span.name)
        return names

    (request,) = named(spans, "POST /api/runpod")
    assert (request.kind, request.links, request.parent_id) == (2, (THEIRS,), root_span_of(job_id))
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["openv.request.id"] == "asked-at-noon"
    (submitted,) = named(spans, "process openv.commands", openv_outcome="admitted")
    assert above(submitted) == ["send openv.commands", "POST /api/runpod", "job"]
    (assigned,) = named(spans, "assign openv.assignments")
    announced = ["send openv.events", "process openv.commands", *above(submitted)]
    assert above(assigned) == ["process openv.dispatch", *announced]
    (attempt,) = named(spans, "attempt")
    assert above(attempt) == ["assign openv.assignments", *above(assigned)]
    for phase in ("denoise", "encode", "upload"):
        assert all(above(one)[0] == "attempt" for one in named(spans, phase))
    (started,) = named(spans, "process openv.commands", openv_state="processing")
    assert above(started)[0] == "assign openv.assignments"
    puts = named(spans, "s3 put file")
    assert len(puts) == 3
    assert all(above(one)[:2] == ["upload", "attempt"] for one in puts)
    (completed,) = named(spans, "process openv.commands", openv_state="completed")
    assert "attempt" in above(completed)
    assert completed.attributes["openv.version"] > submitted.attributes["openv.version"]
    assert completed.attributes["openv.waited_ms"] >= 0
    pushed = named(spans, "push")
    assert {one.attributes["openv.type"] for one in pushed} >= {"dev.openv.job.completed.v1"}
    assert all(one.attributes["openv.connections"] == 1 for one in pushed)
    (delivered,) = named(spans, "deliver webhook")
    assert delivered.attributes["http.response.status_code"] == 204


async def test_a_killed_worker_does_not_break_the_trace(traced: Traced) -> None:
    fleet = traced.fleet
    async with fleet.person("kim") as kim:
        row = await kim.submit("key-of-kim", prompt="held curtain of a worker that is killed")
        job_id: str = row["jobId"]
        await kim.state(job_id, "processing")
        job = await fleet.store.job(job_id)
        assert job is not None
        assert job.worker_id is not None
        await fleet[job.worker_id].ended(signal.SIGKILL)
        (fleet.stage / "curtain").touch()
        await kim.state(job_id, "completed")
        spans = await traced.spans(job_id, "job", "attempt", "s3 put file")
    (attempt,) = named(spans, "attempt")
    assert attempt.attributes["openv.attempt"] == 2
    assert {one.attributes["openv.attempt"] for one in named(spans, "assign openv.assignments")} == {1, 2}
    assert {one.trace_id for one in spans} == {trace_id_of(job_id)}
    (life,) = named(spans, "job")
    assert life.attributes["openv.state"] == "completed"
    assert life.attributes["openv.attempts"] == 2


async def test_the_logs_name_job_user_and_trace_and_nothing_that_is_nobodys_to_read(traced: Traced) -> None:
    async with traced.fleet.person("lena") as lena:
        row = await lena.submit("key-of-lena", prompt=f"film {PROMPT}")
        job_id: str = row["jobId"]
        await lena.state(job_id, "completed")
        # One that the parts can't do: what they say about it is said with its job.
        refused = await lena.ask("POST", f"/api/runpod/{job_id}/cancel")
        assert refused.status_code in (200, 409), refused.text
        lines = traced.lines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        assert len(told) > 0.9 * len(lines)
        about = [line for line in told if line.get("job_id") == job_id]
        assert {line["part"] for line in about} >= {"gateway", "worker"}
        posts = [line for line in told if line["event"] == "request" and line["method"] == "POST"]
        (asked,) = [line for line in posts if line.get("user_id") == "lena" and line["path"] == "/api/runpod"]
        assert asked["job_id"] == job_id
        assert len(asked["request_id"]) == 32
        delivered = [line for line in told if line["event"] == "delivery tried"]
        assert delivered
        assert all(line["trace_id"] == trace_id_of(line["job_id"]) for line in delivered)
        assert {line["user_id"] for line in delivered} == {"wilhelmine"}
        secrets = [PROMPT, "zyzzyva", lena.key, "hidden", "whsec_", traced.fleet.objects._settings.s3_secret_access_key]
        words = [one if isinstance(one, str) else one.get_secret_value() for one in secrets]
        assert [line for line in lines if any(word in line for word in words)] == []
