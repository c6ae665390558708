"""Which of a user's jobs the ledger has to know: those that are active, and those that still count for something.

A job counts for its seconds and credits as long as its period (and the user's first grant) reaches back, and for having
been asked for as long as the rate window does. One that has ended, charged nothing, and was asked for before that,
changes no decision: a user's hundred thousand small jobs of a month are not held, nor loaded.
"""

from dataclasses import dataclass

from schemas.accounts import Account
from schemas.instants import Instant
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import ACTIVE
from streams.core.effects import UserView
from streams.core.folds import COUNTED, charges
from streams.core.policy import Policy, limits_of
from streams.core.quota import period_of


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a view goes, by ``reserved_at`` in ms, both included.

    ``charged``: it holds every job that has seconds or credits charged since then. ``asked``: every job of which a run
    was admitted since then.
    """

    charged: Instant
    asked: Instant

    def covers(self, other: "Reach") -> bool:
        """Whether a view of this reach holds all that one of the other would."""
        return self.charged <= other.charged and self.asked <= other.asked


def reach_for(account: Account, policy: Policy, now: int, window_ms: int = 0) -> Reach:
    """What must be known to decide at ``now``; ``window_ms``: the longest rate window of the endpoints concerned.

    Credits reach back to the first grant: before it nothing could be spent.
    """
    charged = min([period_of(policy, now)[0], *(grant.granted_at for grant in account.grants)])
    return Reach(charged, now - max(limits_of(account, policy).rate_window_ms, window_ms))


def counts(job: Job, reach: Reach) -> bool:
    """Whether the job may change a decision."""
    if job.state in ACTIVE:
        return True
    for charge in charges((job,)):
        if charge.state is not ChargeState.NONE and charge.reserved_at >= reach.asked:
            return True
        if charge.state in COUNTED and (charge.seconds or charge.credits) and charge.reserved_at >= reach.charged:
            return True
    return False


def pruned(view: UserView, reach: Reach) -> UserView:
    """The view without what counts for nothing. What the account still holds as pending stays: it hides that copy."""
    pending = view.account.pending
    kept = {job_id: job for job_id, job in view.jobs.items() if job_id in pending or counts(job, reach)}
    return UserView(view.account, kept, view.newest_change)
