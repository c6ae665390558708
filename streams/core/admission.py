"""Admission: submissions and manual retries, which alone reserve seconds and credits.

An admission is one compare-and-set of the account, which holds the job as pending (ARCHITECTURE.md section 3, point
3); a refusal is a write of the job alone. What was decided is never decided again: the same command, an older one, or
another with the same key meets the document. A decision afresh needs that it was recorded by ``append_by``, as long
as records live (``forgetting.py``): what was set aside by our mistake, and is redriven, was promised to its sender.
What is told again and was never set aside asks this of now: it was decided then, whatever the documents know of it.
"""

from dataclasses import replace

from schemas.commands import RetryJob, SubmitJob
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState, Job, Refusal
from schemas.lifecycle import Fact, State, advance
from streams.core.case import Case, failure
from streams.core.checks import Ask, refused_for, standing
from streams.core.effects import Decision, WriteJob
from streams.core.endings import without_words
from streams.core.forgetting import is_over, is_renewed
from streams.core.policy import Scope, scope_of
from streams.core.runs import new_job, next_run

C = FailureCode


def submit(case: Case, command: SubmitJob) -> Decision:
    """A client's request: admitted, refused, or met by what was decided on its job id before.

    What it meets is written again where that was long ago, so that the document outlives every record that names it.
    """
    known = case.view.own(command.job_id)
    decision = _submitted(case, command)
    if decision.write is not None or known is None or not is_renewed(known, case.recorded_at):
        return decision
    renewed = replace(known, version=known.version + 1, updated_at=case.stamp)
    answer = replace(decision.answer, version=renewed.version) if decision.answer else None
    return replace(decision, write=WriteJob(renewed, known.version), jobs=(renewed,), answer=answer)


def _submitted(case: Case, command: SubmitJob) -> Decision:
    if case.is_foreign(command.job_id):
        return case.decided(command, Outcome.REFUSED, code=C.KEY_REUSED)
    known = case.view.own(command.job_id)
    if known is not None:
        if known.request_hash != command.request_hash:
            return case.decided(command, Outcome.REFUSED, job=known, code=C.KEY_REUSED)
        if known.refusal is None or known.charge.state is not ChargeState.NONE:
            return case.decided(command, Outcome.ADMITTED, job=known)
        before = _answered_before(case, command, known.refusal)
        if known.state is State.DELETED and known.endpoint is not None and not before:
            # Nobody but the time deletes these: who asks later is told so, not what was wrong then.
            return case.decided(command, Outcome.ADMITTED, job=known)
        if known.state is not State.REJECTED or before:
            return case.decided(
                command, Outcome.REFUSED, job=known, code=known.refusal.code, left=known.refusal.remaining
            )
    late = case.is_late(command.append_by) or is_over(case.recorded_at, case.stamp)
    if late or case.precedes_deletion:
        return case.decided(command, Outcome.REFUSED, job=known, code=C.TOO_LATE)
    job = new_job(case, command, version=known.version + 1 if known else 1)
    code = refused_for(case, Ask(job.charge.seconds, job.charge.credits, scope_of(job)))
    if code is None:
        return _admitted(case, command, job)
    rejected = replace(
        job,
        state=State.REJECTED,
        charge=replace(job.charge, state=ChargeState.NONE),
        finished_at=case.now,
        failure=failure(code),
    )
    if case.view.account.deleted_at is not None:  # nobody would delete its words any more
        rejected = without_words(rejected)
    return _refused(case, command, rejected, code, scope_of(rejected))


def retry(case: Case, command: RetryJob) -> Decision:
    """Another run after the one named, if that had ended before: asked in the same millisecond it can't have known.

    A run has one successor: asking for it again is answered as admitted. A job of an endpoint is measured by what
    the command says of that endpoint's limits, or else by what the run before was measured by.
    """
    job = case.named(command.job_id)
    if job is None:
        return case.decided(command, Outcome.NOT_FOUND)
    if job.state is not State.DELETED and job.run == command.run + 1:
        return case.decided(command, Outcome.ADMITTED, job=job)
    if job.run != command.run or advance(job.state, Fact.RETRIED) is None or case.recorded_at <= (job.finished_at or 0):
        return case.decided(command, Outcome.UNCHANGED, job=job)
    if job.refusal and _answered_before(case, command, job.refusal):
        return case.decided(command, Outcome.REFUSED, job=job, code=job.refusal.code, left=job.refusal.remaining)
    if case.is_late(command.append_by):
        return case.decided(command, Outcome.REFUSED, job=job, code=C.TOO_LATE)
    measured = job if command.endpoint is None else replace(job, limits=command.limits)
    scope = scope_of(measured)
    code = refused_for(case, Ask(job.request.seconds, job.price_credits, scope))
    if code is not None:
        return _refused(case, command, replace(job, version=job.version + 1, updated_at=case.stamp), code, scope)
    again = next_run(case, measured)
    return _admitted(case, command, again)


def _answered_before(case: Case, command: SubmitJob | RetryJob, refusal: Refusal) -> bool:
    """Whether this refusal answers the command: it was the one refused, or it was recorded no later (a replay)."""
    return refusal.command_id == command.command_id or case.recorded_at <= refusal.refused_at


def _admitted(case: Case, command: SubmitJob | RetryJob, job: Job) -> Decision:
    write = case.account_write(case.next_account(admitting=job), job)
    return case.decided(command, Outcome.ADMITTED, job=job, write=write)


def _refused(case: Case, command: SubmitJob | RetryJob, job: Job, code: FailureCode, scope: Scope) -> Decision:
    """Store why, so that the same command is answered the same; ``job`` is the next version, not yet saying so."""
    left = standing(case, code, scope)
    refusal = Refusal(command_id=command.command_id, code=code, remaining=left, refused_at=case.recorded_at)
    refused = replace(job, refusal=refusal)
    write = WriteJob(refused, refused.version - 1)
    return case.decided(command, Outcome.REFUSED, job=refused, write=write, code=code, left=left)
