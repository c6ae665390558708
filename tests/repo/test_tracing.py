"""Tracing's own promises: off costs nothing, one trace a job, a collector that is away harms nobody."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from repo import tracing
from repo.spans import Kind
from repo.tracing_sdk import Once, share_of
from schemas.traces import parent_of, root_span_of, trace_id_of
from tests.repo.collector import Collector
from tests.servers import closed_port

JOB, OTHER = "6b1f6c9e-0f55-4a50-9d59-3e3c5d5a7a01", "6b1f6c9e-0f55-4a50-9d59-3e3c5d5a7a02"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracing.set_up("tests")
        assert tracing.is_on()
        yield collector
        tracing.close(5)


def test_off_it_makes_nothing_starts_nothing_and_imports_nothing() -> None:
    script = (
        "import sys, threading\n"
        "from repo import tracing\n"
        "from repo.spans import SILENT\n"
        "tracing.set_up('tests', {})\n"
        "with tracing.span('a', job_id='j') as span:\n"
        "    assert span is SILENT and tracing.current() is SILENT\n"
        "    assert tracing.traceparent('j') is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "assert threading.active_count() == 1\n"
        "tracing.close(1)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "sometimes"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "2",
        },
    ],
)
def test_it_stays_off_where_it_is_switched_off_or_makes_no_sense(environment: dict[str, str]) -> None:
    before = threading.active_count()
    tracing.set_up("tests", environment)
    assert not tracing.is_on()
    assert threading.active_count() == before


def test_the_trace_of_a_job_follows_from_its_id() -> None:
    assert trace_id_of(JOB) == trace_id_of(JOB) != trace_id_of(OTHER)
    assert len(trace_id_of(JOB)) == 32
    assert len(root_span_of(JOB)) == 16
    # Written in records and in people's notes: never another one.
    assert (trace_id_of("job"), root_span_of("job")) == ("eebf655d327f80cb31405686d44cca7f", "4bbd7b8e6dff1319")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01-more",
        "00-" + "1" * 31 + "-" + "1" * 16 + "-01",
    ],
)
def test_what_is_no_traceparent_names_no_parent(text: str | None) -> None:
    assert parent_of(text) is None


def test_a_traceparent_of_a_later_version_is_read() -> None:
    parent = parent_of("01-" + "1" * 32 + "-" + "2" * 16 + "-00-what will be")
    assert parent == ("1" * 32, "2" * 16, False)


def test_spans_of_one_job_are_one_tree_below_its_root(collector: Collector) -> None:
    with tracing.span("first", Kind.SERVER, job_id=JOB) as first:
        with tracing.span("inner", attributes={"left": None, "kept": 1}):
            carried = tracing.traceparent(JOB)
        with tracing.span("another job's", job_id=OTHER, parent=carried):
            assert parent_of(tracing.traceparent(JOB)) == (trace_id_of(JOB), root_span_of(JOB), True)
        assert tracing.traceparent(JOB) == first.traceparent
    with tracing.span("later, elsewhere", Kind.CONSUMER, job_id=JOB, parent=carried):
        pass
    tracing.whole_life(JOB, "job", 1_700_000_000_000, {})
    tracing.close(5)

    spans = {one.name: one for one in collector.spans}
    mine = {one.name for one in collector.of(trace_id_of(JOB))}
    assert mine == {"first", "inner", "later, elsewhere", "job"}
    assert spans["job"].span_id == root_span_of(JOB) == spans["first"].parent_id
    assert spans["job"].parent_id == ""
    assert spans["job"].start == 1_700_000_000_000 * 10**6
    assert spans["inner"].parent_id == spans["first"].span_id
    assert spans["later, elsewhere"].parent_id == spans["inner"].span_id
    assert spans["another job's"].parent_id == root_span_of(OTHER)
    assert spans["inner"].attributes == {"kept": 1}
    assert spans["first"].service == "openv-tests"


def test_an_exception_is_told_by_its_type_alone(collector: Collector) -> None:
    with pytest.raises(ValueError, match="a secret"), tracing.span("fails", job_id=JOB):
        raise ValueError("a secret")
    tracing.close(5)
    (span,) = collector.spans
    assert span.failed
    assert span.attributes["error.type"] == "ValueError"
    assert b"a secret" not in collector.bodies[0]


def test_a_share_is_the_same_jobs_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [f"job-{number}" for number in range(2000)]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    kept: list[set[str]] = []
    for share in ("0.1", "0.5", "0.1"):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
        tracing.set_up("tests")
        kept.append({job for job in jobs if tracing.traceparent(job)})
        sampled = f"00-{trace_id_of(jobs[0])}-{'1' * 16}-01"  # whoever carries it on does not decide
        assert (tracing.begin("a", job_id=jobs[0], parent=sampled).traceparent is not None) == (jobs[0] in kept[-1])
        tracing.close(0.01)
    assert kept[0] == kept[2] < kept[1]
    assert 120 < len(kept[0]) < 280


def test_shares_by_name() -> None:
    assert share_of({}) == 1
    assert share_of({"OTEL_TRACES_SAMPLER": "always_off"}) == 0
    assert share_of({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}) == 1
    assert share_of({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}) == 0.25
    with pytest.raises(ValueError, match="OTEL_TRACES_SAMPLER"):
        share_of({"OTEL_TRACES_SAMPLER": "jaeger_remote"})


class Flaky(SpanExporter):
    """Takes spans or does not, as it is told; None: it raises."""

    def __init__(self, *answers: bool | None) -> None:
        self._answers = iter(answers)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        answer = next(self._answers)
        if answer is None:
            raise RuntimeError("a secret of its own")
        return SpanExportResult.SUCCESS if answer else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        return


def test_losses_are_told_once_until_they_end() -> None:
    once = Once(Flaky(True, False, None, False, True, True, False))
    with structlog.testing.capture_logs() as said:
        for _ in range(7):
            once.export([])
    assert [line["event"] for line in said] == ["traces_lost", "traces_sent_again", "traces_lost"]
    assert "secret" not in str(said)


def test_a_collector_that_is_away_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    tracing.set_up("tests")
    for _ in range(10_000):
        with tracing.span("lost", job_id=JOB):
            pass
    began = time.monotonic()
    tracing.close(0.5)
    assert time.monotonic() - began < 30  # not the SDK's own patience for every batch, nor its 30 s at the end
    said = capsys.readouterr()
    words = said.out + said.err + caplog.text
    assert words.count("traces_lost") <= 1
    assert "Queue full" not in words
    assert "refused" not in words
