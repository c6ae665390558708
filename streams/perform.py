"""The interpreters of effects: a ledger's decision as a write and announcements, a scheduler's effects as messages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from repo.core.documents import DamagedDocumentError
from repo.ports import EventLog, JobStore
from schemas.codec import Encoded, Message, encode
from schemas.commands import AttemptHandedBack, AttemptLost, JobExpired
from schemas.dispatch import RunAttempt
from schemas.events import AccountEvent
from schemas.failures import FailureCode
from schemas.jobs import Job
from schemas.lifecycle import State
from streams.core.announce import announcements
from streams.core.effects import (
    Decision,
    Look,
    Offer,
    Order,
    SchedulerEffect,
    ShowPlace,
    ShowPool,
    Tell,
    WriteAccount,
)
from streams.core.pool_state import Seen
from streams.deadletters import CannotProcess
from streams.tracing import Origins, announcing

log = structlog.get_logger()

LEDGER = "/openv/ledger"
SCHEDULER = "/openv/scheduler"


async def write(store: JobStore, decision: Decision) -> bool:
    """Carry out the decision's one write, and settle the job that it admits. False: another writer was first.

    Raises ``Unavailable``; ``ValueError`` for a document that can't be stored.
    """
    if decision.write is None:
        return True
    if not isinstance(decision.write, WriteAccount):
        return await store.store_job(decision.write.job, decision.write.expected)
    if not await store.store_account(decision.write.account, decision.write.expected):
        return False
    return decision.write.job is None or await store.settle_job(decision.write.job)


def messages_of(decision: Decision) -> list[Message]:
    """What the decision announces, the answer last: whoever hears it finds everything else said."""
    said = job_messages(decision.jobs)
    if decision.account is not None:
        said.append(AccountEvent(replace(decision.account, pending={})))
    said += decision.discarded
    if decision.answer is not None:
        said.append(decision.answer)
    return said


def job_messages(jobs: Iterable[Job]) -> list[Message]:
    """The announcements of these documents."""
    said: list[Message] = []
    for job in jobs:
        said += announcements(job)
    return said


async def announce(
    event_log: EventLog,
    messages: Sequence[Message],
    *,
    source: str,
    at: int,
    traceparent: str | None = None,
    origins: Origins | None = None,
) -> None:
    """Durable on return. ``at``: the record's time (ms). Raises ``Unavailable``; ``CannotProcess`` if too large.

    ``traceparent``: what is passed on where this process does not trace. ``origins``: where jobs were last heard of.
    """
    if not messages:
        return
    with announcing(messages, origins) as parent_of:
        try:
            encoded = [
                encode(message, source=source, at=at, traceparent=parent_of(message) or traceparent)
                for message in messages
            ]
        except (TypeError, ValueError) as error:  # text that is no Unicode
            raise CannotProcess("its announcement can't be written down", error) from error
        await _append(event_log, encoded)


async def _append(event_log: EventLog, encoded: Sequence[Encoded]) -> None:
    try:
        await event_log.append_all(encoded)
    except ValueError as error:
        sizes = ", ".join(f"{_type(one)}: {len(one.value)} bytes" for one in encoded)
        raise CannotProcess(f"its announcement can't be produced ({sizes})", error) from error


def _type(message: Encoded) -> str:
    return next((value.decode() for name, value in message.headers if name == "ce_type"), message.topic)


async def scheduled(
    store: JobStore, effects: Iterable[SchedulerEffect], pool: str, now: int
) -> tuple[list[Message], list[Seen]]:
    """The messages that the effects ask for, in order, and what the core is to be told of the documents it named.

    ``now`` is the step's own (ms). Raises ``Unavailable``; nothing was sent then.
    """
    messages: list[Message] = []
    answers: list[Seen] = []
    for effect in effects:
        match effect:
            case Offer():
                job = await _document(store, effect.job_id)
                if job is not None and fits(effect, job, pool, now):
                    messages.append(run_attempt(effect, job, now))
                else:
                    answers.append(Seen(effect.job_id, job))
            case Look():
                answers.append(Seen(effect.job_id, await _document(store, effect.job_id)))
            case Order() | ShowPlace() | ShowPool():
                messages.append(effect.message)
            case Tell():
                messages.append(word_to_ledger(effect))
    return messages, answers


async def _document(store: JobStore, job_id: str) -> Job | None:
    """The document; one that can't be read is none: its job can't be run, and the others go on."""
    try:
        return await store.job(job_id)
    except DamagedDocumentError as error:
        log.error("job can't be run: repair or delete its document", job_id=job_id, reason=str(error))
        return None


def fits(offer: Offer, job: Job, pool: str, now: int) -> bool:
    """Whether the document still is what the core offered: this attempt, queued in this pool, due."""
    return job.state is State.QUEUED and job.pool == pool and job.attempt == offer.attempt and job.due_at <= now


def run_attempt(offer: Offer, job: Job, now: int) -> RunAttempt:
    """The order to the worker."""
    return RunAttempt(
        worker_id=offer.worker_id,
        session=offer.session,
        pool=job.pool,
        job_id=job.job_id,
        user_id=job.user_id,
        run=job.run,
        attempt=job.attempt,
        request=job.request,
        execution_timeout_ms=job.execution_timeout_ms,
        assigned_at=now,
        poll_id=offer.poll_id,
        webhook=job.webhook if job.external else None,
    )


_EXPIRED = {"ttl_expired": FailureCode.TTL_EXPIRED, "execution_timeout": FailureCode.EXECUTION_TIMEOUT}
_REPORTS: Mapping[str, type[AttemptLost | AttemptHandedBack]] = {"lost": AttemptLost, "handed_back": AttemptHandedBack}


def word_to_ledger(tell: Tell) -> Message:
    """The command of a ``Tell``. The same word has the same id, so that saying it again is the same command."""
    command_id = f"{tell.job_id}:{tell.run}:{tell.attempt}:{tell.kind}:{tell.worker_id}"
    if tell.kind in _EXPIRED:
        return JobExpired(
            command_id=command_id,
            user_id=tell.user_id,
            job_id=tell.job_id,
            run=tell.run,
            attempt=tell.attempt,
            code=_EXPIRED[tell.kind],  # type: ignore[arg-type]  # the two that the type allows
        )
    return _REPORTS[tell.kind](
        command_id=command_id,
        user_id=tell.user_id,
        job_id=tell.job_id,
        attempt=tell.attempt,
        worker_id=tell.worker_id,
        reason=tell.reason,
    )
