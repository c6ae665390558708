"""Around the handling of one record: its span in the trace of its job, and what every line of the log says about it."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from repo import tracing
from repo.spans import SILENT, Attributes, Kind, Span
from schemas.codec import Message, Record, type_of
from schemas.commands import AnyCommand
from schemas.deliveries import Delivery
from schemas.dispatch import RunAttempt
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Job
from schemas.lifecycle import TERMINAL
from schemas.replays import replayed
from schemas.topics import COMMANDS, PROGRESS, TOPIC_OF
from schemas.traces import HEADER, trace_id_of
from streams.core.deliveries import Result
from streams.core.effects import Decision

JOBS_MAX = 10_000


@contextmanager
def handling(role: str, message: Message, record: Record) -> Iterator[Span]:
    """Bind job, user and trace, and trace it: every command about a job, and of other records those that say to.

    (Heartbeats name a job too. They come without a trace, every few seconds.)
    """
    job_id, user_id = about(message)
    bound = {name: value for name, value in (("job_id", job_id), ("user_id", user_id)) if value}
    if job_id and tracing.is_on():
        bound["trace_id"] = trace_id_of(job_id)
    # No ``bound_contextvars``: one record is not handled within another's, and it copies the context for each.
    structlog.contextvars.bind_contextvars(**bound)
    try:
        parent = record.header(HEADER) if tracing.is_on() else None
        if not tracing.is_on() or job_id is None or (parent is None and record.topic != COMMANDS.name):
            yield SILENT
            return
        name, attributes = f"process {record.topic}", _received(role, message, record)
        with tracing.span(name, Kind.CONSUMER, job_id=job_id, parent=parent, attributes=attributes) as span:
            yield span
    finally:
        structlog.contextvars.unbind_contextvars(*bound)


def about(message: Message) -> tuple[str | None, str | None]:
    """The job and the user that a message is about."""
    if isinstance(message, JobEvent):
        return message.job.job_id, message.job.user_id
    if isinstance(message, AccountEvent):
        return None, message.account.user_id
    return getattr(message, "job_id", None), getattr(message, "user_id", None)


def decided(command: AnyCommand, decision: Decision, now: int) -> None:
    """What the ledger made of a command of this time (ms); and the whole life of a job that ends with it."""
    if not tracing.is_on():
        return
    job_id, _ = about(command)
    job = next((one for one in decision.jobs if one.job_id == job_id), None)
    answer = decision.answer
    tracing.current().set(
        {
            "openv.outcome": answer.outcome.value if answer else None,
            "openv.refused": answer.code.value if answer and answer.code else None,
            "openv.written": decision.write is not None,
            "openv.state": job.state.value if job else None,
            "openv.version": job.version if job else None,
            "openv.attempt": job.attempt if job else None,
        }
    )
    if decision.write is None:
        return
    for one in decision.jobs:
        if one.state in TERMINAL and one.run == 1 and one.finished_at == now:
            _tell_life(one)


def _tell_life(job: Job) -> None:
    """A later run, after a retry by hand, goes on in the same trace under this span, which has ended by then."""
    tracing.whole_life(
        job.job_id,
        "job",
        job.created_at,
        {
            "openv.pool": job.pool,
            "openv.state": job.state.value,
            "openv.attempts": job.attempt,
            "error.type": job.failure.code.value if job.failure else None,
        },
    )


class Origins:
    """Which span last spoke of a job: what is said of the job later, on another occasion, follows from it.

    Soft, as all that the scheduler knows: a job that is not in it is said to follow from its trace's root.
    """

    def __init__(self) -> None:
        self._traceparents: OrderedDict[str, str] = OrderedDict()

    def note(self, message: Message) -> None:
        """This message is being handled, in the current span."""
        job_id, _ = about(message)
        said = tracing.current().traceparent
        if job_id is None or said is None:
            return
        self._traceparents[job_id] = said
        self._traceparents.move_to_end(job_id)
        if len(self._traceparents) > JOBS_MAX:
            self._traceparents.popitem(last=False)

    def of(self, job_id: str) -> str | None:
        """Its ``traceparent``."""
        return self._traceparents.get(job_id)


@contextmanager
def announcing(
    messages: Sequence[Message], origins: Origins | None = None
) -> Iterator[Callable[[Message], str | None]]:
    """A span around an append, for each job that the messages are about; yields what each of them is to carry.

    What is shown of a job while it waits or runs (``openv.progress``) is no step of its life, and carries nothing.
    """
    if not tracing.is_on():
        yield _nothing
        return
    spans: dict[str, Span] = {}
    for message in messages:
        job_id, topic = about(message)[0], TOPIC_OF[type(message)]
        if job_id is None or topic is PROGRESS:
            continue
        if job_id not in spans:
            spans[job_id] = _sending(message, topic.name, job_id, origins.of(job_id) if origins else None)
    try:
        yield lambda message: _traceparent(message, spans)
    except BaseException as error:
        for span in spans.values():
            span.fail(type(error).__name__)
        raise
    finally:
        for span in spans.values():
            span.end()


def _sending(message: Message, topic: str, job_id: str, parent: str | None) -> Span:
    name = f"assign {topic}" if isinstance(message, RunAttempt) else f"send {topic}"
    attributes: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.operation.name": "append",
        "messaging.destination.name": topic,
        "messaging.message.id": message.message_id,
        "openv.type": type_of(message),
        "openv.attempt": getattr(message, "attempt", None),
        "openv.worker": getattr(message, "worker_id", None),
    }
    return tracing.begin(name, Kind.PRODUCER, job_id=job_id, parent=parent, attributes=attributes)


def _traceparent(message: Message, spans: Mapping[str, Span]) -> str | None:
    job_id = about(message)[0]
    span = spans.get(job_id) if job_id and TOPIC_OF[type(message)] is not PROGRESS else None
    return span.traceparent if span is not None else None


def _nothing(_: Message) -> None:
    return None


@contextmanager
def delivering(delivery: Delivery) -> Iterator[Span]:
    """Around one try to tell somebody how a job ended: a webhook or a mail. Where to is the client's, and not told."""
    job_id = delivery.job_id
    bound = {"job_id": job_id, "user_id": delivery.user_id, "delivery": delivery.delivery_id}
    if job_id is None or not tracing.is_on():
        with structlog.contextvars.bound_contextvars(**{name: value for name, value in bound.items() if value}):
            yield SILENT
        return
    attributes: Attributes = {
        "openv.delivery": delivery.delivery_id,
        "openv.delivery.kind": delivery.kind.value,
        "openv.delivery.tries": delivery.tries,
    }
    with (
        structlog.contextvars.bound_contextvars(**bound, trace_id=trace_id_of(job_id)),
        tracing.span(f"deliver {delivery.kind.value}", Kind.CLIENT, job_id=job_id, attributes=attributes) as span,
    ):
        yield span


def told(result: Result, after: Delivery) -> None:
    """How the try went."""
    span = tracing.current()
    span.set({"http.response.status_code": result.status, "openv.delivery.state": after.state.value})
    if not result.succeeded:
        span.fail(str(result.status or "not sent"))


def _received(role: str, message: Message, record: Record) -> Attributes:
    again = replayed(record.headers)
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.consumer.group.name": f"openv-{role}",
        "messaging.kafka.offset": record.offset,
        "messaging.message.id": message.message_id,
        "messaging.message.body.size": len(record.value),
        "openv.role": role,
        "openv.type": type_of(message),
        "openv.waited_ms": max(0, tracing.now_ns() // tracing.NS_PER_MS - record.timestamp),
        # Of a record that somebody wrote again: which replay that was, where it lay first, how often it was.
        "openv.replay": again.replay_id if again else None,
        "openv.replay.origin": again.origin if again else None,
        "openv.replay.count": again.count if again else None,
        "openv.attempt": getattr(message, "attempt", None),
        "openv.worker": getattr(message, "worker_id", None),
    }
