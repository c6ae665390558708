"""The documents that an admission makes: the first run of a job, and the next one after a manual retry."""

from schemas.commands import SubmitJob
from schemas.jobs import AttemptEnd, Charge, ChargeState, EarlierAttempt, Job
from schemas.lifecycle import Fact, State
from streams.core.case import Case
from streams.core.discards import KEPT
from streams.core.policy import limits_of, scope_of


def new_job(case: Case, command: SubmitJob, version: int) -> Job:
    """The first run of a job, queued, with its seconds and credits reserved. What makes no video costs none's price."""
    policy = case.policy
    video_price = policy.credits_per_video if policy.credits_required and not command.external else 0.0
    price = command.credits or video_price
    return Job(
        job_id=command.job_id,
        user_id=command.user_id,
        pool=command.pool,
        state=State.QUEUED,
        version=version,
        request=command.request,
        request_hash=command.request_hash,
        charge=Charge(state=ChargeState.RESERVED, seconds=command.request.seconds, credits=price, reserved_at=case.now),
        created_at=case.now,
        updated_at=case.stamp,
        due_at=case.now,
        expires_at=case.now + _given(command.ttl_ms, policy.ttl_ms),
        execution_timeout_ms=_given(command.execution_timeout_ms, policy.execution_timeout_ms),
        max_retries=_given(command.max_retries, policy.max_retries),
        priority=command.priority,
        origin=command.origin,
        webhook=command.webhook,
        endpoint=command.endpoint,
        external=command.external,
        limits=command.limits if command.endpoint is not None else None,
        price_credits=price,
        asked_at=case.recorded_at if case.set_aside else None,
    )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def next_run(case: Case, job: Job) -> Job:
    """The job queued for its next run: seconds and credits reserved again, the same time to live from now on."""
    left_behind = job.earlier_attempts
    if job.worker_id and all(e.attempt != job.attempt for e in left_behind):
        stopped = EarlierAttempt(
            attempt=job.attempt,
            worker_id=job.worker_id,
            end=AttemptEnd.STOPPED,
            started_at=job.started_at,
            ended_at=job.finished_at,
        )
        left_behind = (*left_behind, stopped)[-KEPT:]
    again = case.moved(
        job,
        Fact.RETRIED,
        run=job.run + 1,
        attempt=job.attempt + 1,
        run_first_attempt=job.attempt + 1,
        tries=1,
        charge=Charge(
            state=ChargeState.RESERVED,
            seconds=job.request.seconds,
            credits=job.price_credits,
            reserved_at=case.now,
        ),
        earlier_charges=_earlier_charges(case, job),
        earlier_attempts=left_behind,
        due_at=case.now,
        expires_at=case.now + job.expires_at - job.charge.reserved_at,
        worker_id=None,
        previous_worker_id=None,
        started_at=None,
        finished_at=None,
        failure=None,
        output=None,
        winning_attempt=None,
        refusal=None,
        asked_at=case.recorded_at if case.set_aside else None,
    )
    if again is None:
        raise AssertionError("the caller has looked into the table")
    return again


def _earlier_charges(case: Case, job: Job) -> tuple[Charge, ...]:
    """Charges of runs before: those kept (a cancel under a stricter policy), and those the rate window still sees."""
    since = case.now - limits_of(case.view.account, case.policy, scope_of(job)).rate_window_ms
    return tuple(
        charge
        for charge in (*job.earlier_charges, job.charge)
        if charge.state is ChargeState.CAPTURED or charge.reserved_at > since
    )
