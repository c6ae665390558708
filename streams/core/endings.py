"""Ends that come from outside the attempt: cancel, timeout, delete. Each names what it means, or does nothing."""

from dataclasses import replace

from schemas.commands import CancelJob, DeleteJob, JobExpired
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import ACTIVE, Fact, State
from streams.core.case import Case, failure
from streams.core.discards import discarded
from streams.core.effects import Decision, WriteAccount, WriteJob


def cancel(case: Case, command: CancelJob) -> Decision:
    """Stop the run named; with ``queued_only``, only where it waits. On a job that is cancelled already it is answered
    as done: the wish is fulfilled."""
    job = case.named(command.job_id)
    if job is None:
        return case.decided(command, Outcome.NOT_FOUND)
    if not _means_this_run(case, job, command) or (command.queued_only and _was_running(case, job)):
        return case.decided(command, Outcome.UNCHANGED, job=job)
    cancelled = case.moved(
        job,
        Fact.CANCELLED,
        charge=_charge_kept(case, job),
        failure=failure(FailureCode.CANCELLED),
        finished_at=case.now,
    )
    if cancelled is None:
        outcome = Outcome.DONE if job.state is State.CANCELLED else Outcome.UNCHANGED
        return case.decided(command, outcome, job=job)
    return case.decided(command, Outcome.DONE, job=cancelled, write=WriteJob(cancelled, job.version))


def _means_this_run(case: Case, job: Job, command: CancelJob) -> bool:
    """Whether the newest run is the one meant. A cancel that names none means the run active when it was recorded; past
    the first, that must be clearly after the run was admitted, so that a replayed one stops no later run."""
    if command.run is not None:
        return command.run == job.run
    return job.run == 1 or case.recorded_at > case.asked_for(job, job.charge.reserved_at)


def _was_running(case: Case, job: Job) -> bool:
    """Whether the job did not wait when the command was recorded. One that came back into the queue since then (the
    command is a replay) was seen running, and is not cancelled for it."""
    if job.state is State.PROCESSING:
        return True
    back = max((e.ended_at or 0 for e in job.earlier_attempts if e.attempt >= job.run_first_attempt), default=0)
    return job.state is State.QUEUED and case.recorded_at <= back


def expire(case: Case, command: JobExpired) -> Decision:
    """The run outlived its ttl, or the attempt its execution timeout. The scheduler waits for no answer."""
    job = case.named(command.job_id)
    if job is None:
        return Decision()
    of_attempt = command.code is FailureCode.EXECUTION_TIMEOUT
    applies = command.run == job.run and (not of_attempt or command.attempt == job.attempt)
    expired = applies and case.moved(
        job,
        Fact.EXPIRED,
        charge=replace(job.charge, state=ChargeState.REFUNDED),
        failure=failure(command.code),
        finished_at=case.now,
    )
    if not expired:
        return Decision(jobs=(job,), discarded=discarded(job))
    return Decision(write=WriteJob(expired, job.version), jobs=(expired,), discarded=discarded(expired))


def delete(case: Case, command: DeleteJob) -> Decision:
    """Blank the document. What was charged stays; what was reserved is given back as by a cancel."""
    job = case.named(command.job_id)
    if job is None:
        return case.decided(command, Outcome.NOT_FOUND)
    if command.ended_by is not None and not _has_ended(job, command.ended_by):
        return case.decided(command, Outcome.UNCHANGED, job=job)
    write = deletion(case, job)
    if write is None:
        return case.decided(command, Outcome.DONE, job=job)
    return case.decided(command, Outcome.DONE, job=write.job, write=write)


def _has_ended(job: Job, by: int) -> bool:
    """Whether it had ended by then, and stayed so."""
    return job.state is State.DELETED or (job.state not in ACTIVE and (job.finished_at or 0) <= by)


def deletion(case: Case, job: Job) -> WriteJob | WriteAccount | None:
    """The write that deletes the job, or None if it is deleted.

    Where the account still holds a copy from its admission, the bare document goes through the account, so that the
    prompt does not outlive the job there.
    """
    bare = case.moved(
        without_words(job),
        Fact.DELETED,
        charge=_charge_kept(case, job) if job.state in ACTIVE else job.charge,
        output=None,
        failure=replace(job.failure, message="") if job.failure else None,
        finished_at=job.finished_at if job.finished_at is not None else case.now,
    )
    if bare is None:
        return None
    if job.job_id in case.view.account.pending:
        return case.account_write(case.next_account(admitting=bare), bare)
    return WriteJob(bare, job.version)


def without_words(job: Job) -> Job:
    """The job without anything that its user wrote."""
    request = replace(job.request, prompt="", negative_prompt="", input=None, input_key=None)
    return replace(job, request=request, webhook=None, labels=None)


def _charge_kept(case: Case, job: Job) -> Charge:
    """What an unfinished run that its user ended is charged: nothing, or by policy the seconds it ran, or all."""
    charge = job.charge
    share = 0.0
    if case.policy.refund_on_cancel == "none":
        share = 1.0
    elif case.policy.refund_on_cancel == "used" and job.started_at is not None and charge.seconds > 0:
        share = min(1.0, max(0, case.recorded_at - job.started_at) / 1000 / charge.seconds)
    if share == 0.0:
        return replace(charge, state=ChargeState.REFUNDED)
    return replace(charge, state=ChargeState.CAPTURED, seconds=charge.seconds * share, credits=charge.credits * share)
