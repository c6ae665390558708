"""One job's life as a sequence of steps, out of the records that tell of it. Pure; no step holds a prompt.

Records of one partition stay in their order; between partitions the topics' own times decide, and within one
millisecond the order in which OpenV does things: command, event, wake-up, answer, order, progress.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from operations.core.timeline_words import Said, said_of, signs_of
from schemas.codec import Record, Unreadable, decode
from schemas.commands import Command
from schemas.deliveries import Delivery
from schemas.dispatch import RunAttempt
from schemas.events import CommandAnswered, JobEvent
from schemas.replays import replayed
from schemas.topics import ASSIGNMENTS, AUDIT, COMMANDS, DEADLETTER, DISPATCH, EVENTS, PROGRESS
from schemas.traces import HEADER, parent_of

DELIVERY = "delivery"
KINDS: Mapping[str, str] = MappingProxyType(
    {
        AUDIT.name: "audit",
        COMMANDS.name: "command",
        EVENTS.name: "event",
        DISPATCH.name: "dispatch",
        ASSIGNMENTS.name: "order",
        PROGRESS.name: "progress",
        DEADLETTER.name: "dead letter",
    }
)
ANSWER = "answer"
_RANK: Mapping[str, int] = MappingProxyType(
    {kind: rank for rank, kind in enumerate((*list(KINDS.values())[:4], ANSWER, *list(KINDS.values())[4:], DELIVERY))}
)
_Moment = tuple[int, int]  # ms, and the rank of the kind within them


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``at``: ms; ``lasted_ms``: until it was answered, until the next state, of a try.

    ``place``: topic/partition/offset, of what is told in sum the first one. ``replay``: which replay wrote the record,
    and where it lay before. ``id``: the CloudEvents id; that of a delivery.
    """

    at: int
    kind: str
    what: str
    words: str = ""
    id: str | None = None
    place: str | None = None
    attempt: int | None = None
    worker: str | None = None
    lasted_ms: int | None = None
    trace_id: str | None = None
    replay: str | None = None


def is_about(record: Record, job_id: str) -> bool:
    """Whether the record may tell of the job, cheaply: it is its subject, or is named in it."""
    return record.header("ce_subject") == job_id or job_id.encode() in record.value


def timeline(records: Iterable[Record], deliveries: Iterable[Delivery], job_id: str) -> tuple[Step, ...]:
    """All steps in order. ``records``: those of ``is_about``, of one partition in their order."""
    told: list[_Told] = []
    newest: dict[tuple[str, int], _Moment] = {}
    for record in records:
        one = _told(record, job_id)
        if one is None:
            continue
        lane = record.topic, record.partition
        newest[lane] = when = max(newest.get(lane, (0, 0)), (record.timestamp, _RANK[one.step.kind]))
        told.append(replace(one, step=replace(one.step, at=when[0]), when=when))
    told = sorted(_in_sum(told), key=lambda one: one.when)
    steps = [(one.when, step) for one, step in zip(told, _with_durations(told), strict=True)]
    steps += [((step.at, _RANK[step.kind]), step) for delivery in deliveries for step in _tries(delivery)]
    return tuple(step for _, step in sorted(steps, key=lambda pair: pair[0]))


@dataclass(frozen=True, slots=True)
class _Told:
    """A step, and what it was made of. ``when``: what it is put in order by. ``sum_of``: what is told once for all of
    this name."""

    step: Step
    message: object
    when: _Moment = (0, 0)
    sum_of: tuple[object, ...] | None = None


def _told(record: Record, job_id: str) -> _Told | None:
    kind = KINDS[record.topic]
    message = decode(record)
    if record.topic == DEADLETTER.name:
        said: Said | None = signs_of(record)
    elif isinstance(message, Unreadable):
        said = Said("unreadable", message.reason)
    else:
        said = said_of(message, job_id)
    if said is None:
        return None
    before = replayed(record.headers)
    parent = parent_of(record.header(HEADER))
    step = Step(
        at=record.timestamp,
        kind=ANSWER if isinstance(message, CommandAnswered) else kind,
        what=said.what,
        words=said.words,
        id=record.header("ce_id"),
        place=f"{record.topic}/{record.partition}/{record.offset}",
        attempt=said.attempt,
        worker=said.worker,
        trace_id=parent.trace_id if parent else None,
        replay=f"{before.replay_id}, number {before.count}, from {before.origin}" if before else None,
    )
    return _Told(step, message, sum_of=None if said.sum_of is None else (record.topic, *said.sum_of))


def _in_sum(told: Sequence[_Told]) -> list[_Told]:
    """Progress and heartbeats: one step for all of one name, at the first, with the newest words and their number."""
    kept: list[_Told] = []
    sums: dict[tuple[object, ...], list[_Told]] = {}
    for one in told:
        if one.sum_of is None:
            kept.append(one)
        else:
            sums.setdefault(one.sum_of, []).append(one)
    for many in sums.values():
        first, last = many[0].step, many[-1].step
        words = f"{len(many)} in all; the last: {last.words}" if len(many) > 1 else last.words
        lasted = last.at - first.at if len(many) > 1 else None
        kept.append(_Told(replace(first, words=words, lasted_ms=lasted), many[0].message, many[0].when))
    return kept


def _with_durations(told: Sequence[_Told]) -> list[Step]:
    """Commands until their answer, states until the next, orders until they were taken; what was told before is said
    to be told again."""
    answered = {one.message.command_id: one.step.at for one in told if isinstance(one.message, CommandAnswered)}
    changes = _first_announcements(told)
    started = _first_starts(told)
    steps: list[Step] = []
    seen: set[tuple[str, str]] = set()
    for one in told:
        step, message = one.step, one.message
        until: int | None = None
        if step.id is not None and (step.kind, step.id) in seen and step.kind != ANSWER:
            step = replace(step, what=f"{step.what} (again)")
        elif isinstance(message, Command):
            until = answered.get(message.command_id)
        elif isinstance(message, JobEvent):
            until = changes.get(message.job.version + 1)
        elif isinstance(message, RunAttempt):
            until = started.get((message.attempt, message.worker_id))
        seen.add((step.kind, step.id or ""))
        steps.append(step if until is None else replace(step, lasted_ms=max(0, until - step.at)))
    return steps


def _first_announcements(told: Sequence[_Told]) -> dict[int, int]:
    """By version, when it was first announced."""
    found: dict[int, int] = {}
    for one in told:
        if isinstance(one.message, JobEvent):
            found.setdefault(one.message.job.version, one.step.at)
    return found


def _first_starts(told: Sequence[_Told]) -> dict[tuple[int | None, str | None], int]:
    found: dict[tuple[int | None, str | None], int] = {}
    for one in told:
        if one.step.what == "started":
            found.setdefault((one.step.attempt, one.step.worker), one.step.at)
    return found


def _tries(delivery: Delivery) -> list[Step]:
    """What was told to one endpoint: that it was to be, each try, and how it stands. Never its address."""
    to = f"{delivery.type} to {delivery.endpoint_id}"
    words = f"{to} is {delivery.state}, {delivery.tries} tries"
    made = Step(
        at=delivery.created_at,
        kind=DELIVERY,
        what=str(delivery.kind),
        words=f"{words}: {delivery.reason}" if delivery.reason else words,
        id=delivery.delivery_id,
    )
    tried = [
        replace(
            made,
            at=one.at,
            what="try",
            words=f"{to}: {f'HTTP {one.status}' if one.status else 'no answer'}{f', {one.error}' if one.error else ''}",
            lasted_ms=one.duration_ms,
        )
        for one in delivery.attempts
    ]
    return [made, *tried]
