"""A user's view after a decision's write went through, and what of an account's pending admissions is still open."""

from schemas.jobs import Job
from streams.core.effects import Decision, UserView, WriteAccount, WriteJob


def applied(view: UserView, decision: Decision) -> UserView:
    """The view after the decision's write, and the settling of its job, went through; the same where it wrote none."""
    match decision.write:
        case WriteJob(job=job):
            return view.with_job(job)
        case WriteAccount(account=account, job=None):
            return view.with_account(account)
        case WriteAccount(account=account, job=Job() as job):
            return view.with_account(account).with_job(job)
    return view


def still_pending(view: UserView) -> dict[str, Job]:
    """The pending admissions that the next account write must carry on: those whose job is not stored yet."""
    return {job_id: job for job_id, job in view.account.pending.items() if not _settled(view, job)}


def unsettled(view: UserView) -> tuple[Job, ...]:
    """Jobs that an earlier writer admitted and did not store any more: whoever loads the account stores them first."""
    return tuple(still_pending(view).values())


def _settled(view: UserView, job: Job) -> bool:
    stored = view.jobs.get(job.job_id)
    return stored is not None and stored.version >= job.version
