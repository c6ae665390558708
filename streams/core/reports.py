"""Reports about attempts. A report applies if its (job, attempt, worker) is what the document says, or no worker is
known yet; anything else changes nothing and tells the document again, so that the scheduler stops who runs in vain.

One exception: a success of the attempt before the one that still waits, if its worker was lost or handed it back. The
job is completed then; ``attempt`` stays what it was, so a worker that was just handed the newer attempt finds every
report of it stale, is stopped by the announcement, and its files are discarded.
"""

from dataclasses import replace

from schemas.commands import (
    AttemptFailed,
    AttemptHandedBack,
    AttemptLost,
    AttemptReport,
    AttemptStarted,
    AttemptSucceeded,
)
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, ChargeState, EarlierAttempt, Job
from schemas.lifecycle import Fact, State
from schemas.slots import slot_of
from streams.core.case import Case, failure
from streams.core.discards import KEPT, discarded, late_success_counts
from streams.core.effects import Decision, WriteJob
from streams.core.retry import backoff_ms, classified, tried_again

FREE_HAND_BACKS = 2  # in one run


def report(case: Case, command: AttemptReport) -> Decision:
    """What a worker, or the scheduler about a worker, says of an attempt. Nobody waits for an answer."""
    job = case.view.own(command.job_id)
    if job is None:
        return Decision()
    after = _after(case, job, command)
    reporter = (command.attempt, command.worker_id)
    if after is None:
        return Decision(jobs=(job,), discarded=discarded(job, reporter))
    return Decision(write=WriteJob(after, job.version), jobs=(after,), discarded=discarded(after, reporter))


def _after(case: Case, job: Job, command: AttemptReport) -> Job | None:
    """The job's next version, or None where the report changes nothing."""
    if isinstance(command, AttemptSucceeded):
        return _succeeded(case, job, command)
    if not _is_current(job, command):
        return None
    match command:
        case AttemptStarted():
            return case.moved(job, Fact.STARTED, worker_id=command.worker_id, started_at=case.now)
        case AttemptHandedBack():
            return _handed_back(case, job, command)
        case AttemptFailed():
            return _failed(case, job, command, AttemptEnd.FAILED, classified(command.code, command.message))
        case AttemptLost():
            return _failed(case, job, command, AttemptEnd.LOST, FailureCode.WORKER_LOST)


def _is_current(job: Job, command: AttemptReport) -> bool:
    if command.attempt != job.attempt:
        return False
    return job.state is State.QUEUED or (job.state is State.PROCESSING and job.worker_id == command.worker_id)


def _succeeded(case: Case, job: Job, command: AttemptSucceeded) -> Job | None:
    late = late_success_counts(job, command.attempt, command.worker_id)
    if not late and not _is_current(job, command):
        return None
    before = next((e.started_at for e in job.earlier_attempts if late and e.attempt == command.attempt), None)
    return case.moved(
        job,
        Fact.SUCCEEDED,
        output=command.output,
        worker_id=command.worker_id,
        winning_attempt=command.attempt,
        charge=replace(job.charge, state=ChargeState.CAPTURED),
        started_at=job.started_at or before or case.now,
        finished_at=case.now,
        failure=None,
    )


def _handed_back(case: Case, job: Job, command: AttemptHandedBack) -> Job | None:
    if vanishes(job, command.worker_id):
        return _failed(case, job, command, AttemptEnd.LOST, FailureCode.WORKER_LOST)
    return case.moved(
        job,
        Fact.HANDED_BACK,
        attempt=job.attempt + 1,
        due_at=case.now,
        worker_id=None,
        previous_worker_id=command.worker_id or None,
        started_at=None,
        earlier_attempts=_with(case, job, command, AttemptEnd.HANDED_BACK, None),
    )


def vanishes(job: Job, worker_id: str | None) -> bool:
    """Whether an external worker was handed this job and never heard of with it, once too often to cost nothing: it may
    run it each time, and not be able to say so. Handed back by it once more, the attempt is lost."""
    if slot_of(worker_id) is None or job.state is not State.PROCESSING:
        return False
    before = [
        one
        for one in job.earlier_attempts
        if one.attempt >= job.run_first_attempt and one.end is AttemptEnd.HANDED_BACK and one.started_at is not None
    ]
    return len(before) >= FREE_HAND_BACKS


def _failed(
    case: Case,
    job: Job,
    command: AttemptFailed | AttemptLost | AttemptHandedBack,
    end: AttemptEnd,
    code: FailureCode,
) -> Job | None:
    """Tried again, or given up: then what an external worker said in failing is the job's output."""
    earlier = _with(case, job, command, end, code)
    word = command.output if isinstance(command, AttemptFailed) else None
    if tried_again(job, code):
        return case.moved(
            job,
            Fact.RETRY,
            attempt=job.attempt + 1,
            tries=job.tries + 1,
            due_at=case.now + backoff_ms(case.policy, job),
            worker_id=None,
            previous_worker_id=command.worker_id or None,
            started_at=None,
            earlier_attempts=earlier,
        )
    return case.moved(
        job,
        Fact.GAVE_UP,
        charge=replace(job.charge, state=ChargeState.REFUNDED),
        failure=failure(code, command.message if isinstance(command, AttemptFailed) else ""),
        worker_id=command.worker_id or None,
        output=word,
        winning_attempt=None if word is None else command.attempt,
        finished_at=case.now,
        earlier_attempts=earlier,
    )


def _with(
    case: Case, job: Job, command: AttemptReport, end: AttemptEnd, code: FailureCode | None
) -> tuple[EarlierAttempt, ...]:
    ended = EarlierAttempt(
        attempt=job.attempt,
        worker_id=command.worker_id,
        end=end,
        code=code,
        started_at=job.started_at,
        ended_at=case.now,
    )
    return (*job.earlier_attempts, ended)[-KEPT:]
