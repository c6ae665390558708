"""What the span of a handled record says of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from repo import tracing
from repo.tracing_sdk import SdkTracer
from schemas.codec import Record, decode, encode
from schemas.commands import CancelJob
from schemas.replays import Replayed
from schemas.traces import trace_id_of
from streams.tracing import handling

JOB = "0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55"
PARENT = f"00-{trace_id_of(JOB)}-{'cd' * 8}-01"
AGAIN = Replayed("r-k3m8x2pq", "openv.commands", 3, 41, 1_790_000_000_000, 2)


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(SdkTracer(exporter, Resource.get_empty(), 1.0))
    yield exporter
    tracing.close(5)


def handled(kept: InMemorySpanExporter, *headers: tuple[str, bytes]) -> dict[str, object]:
    """The attributes of the span of a command with these headers."""
    command = CancelJob(command_id="c", user_id="u", job_id=JOB, run=1)
    encoded = encode(command, source="/test", at=1_790_000_000_000, traceparent=PARENT)
    record = Record(
        topic="openv.commands", partition=3, offset=77, timestamp=1_790_000_000_000, key=encoded.key,
        value=encoded.value, headers=(*encoded.headers, *headers),
    )  # fmt: skip
    message = decode(replace(record))
    with handling("ledger", message, record) as span:
        assert span.trace_id == trace_id_of(JOB)
    tracing.close(5)
    (told,) = kept.get_finished_spans()
    assert told.parent is not None
    assert f"{told.parent.span_id:016x}" == "cd" * 8, "below what first sent it"
    return dict(told.attributes or {})


def test_a_record_that_was_replayed_is_known_in_its_trace(kept: InMemorySpanExporter) -> None:
    told = handled(kept, *AGAIN.headers())
    assert told["openv.replay"] == "r-k3m8x2pq"
    assert told["openv.replay.origin"] == "openv.commands/3/41"
    assert told["openv.replay.count"] == 2
    assert told["messaging.kafka.offset"] == 77


def test_any_other_is_not(kept: InMemorySpanExporter) -> None:
    told = handled(kept, ("openv_replay-id", b"forged"))
    assert [name for name in told if name.startswith("openv.replay")] == []
