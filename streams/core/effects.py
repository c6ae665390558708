"""What a decision asks of the shell, as data. ``streams/perform.py`` interprets it; the order is the contract's.

The ledger: one write (a compare-and-set), then announcements. The scheduler: messages to workers, ledger, watchers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.accounts import Account
from schemas.dispatch import AnyAssignment
from schemas.events import CommandAnswered, FilesDiscarded
from schemas.jobs import Job
from schemas.progress import QueuePlace


@dataclass(frozen=True, slots=True)
class WriteJob:
    """Compare-and-set the job document: ``job.version`` is ``expected + 1``."""

    job: Job
    expected: int


@dataclass(frozen=True, slots=True)
class WriteAccount:
    """Compare-and-set the account; ``job`` is the admitted one (also under ``account.pending``), to be settled next."""

    account: Account
    expected: int
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision on one command.

    ``write`` first; if it is lost, reload and decide again. Then settle ``write.job``, then announce ``jobs`` and
    ``account``, ``discarded`` and ``answer``. ``again``: decide the same command once more on the new state (a user's
    deletion goes job by job).
    """

    write: WriteJob | WriteAccount | None = None
    jobs: tuple[Job, ...] = ()
    account: Account | None = None
    discarded: tuple[FilesDiscarded, ...] = ()
    answer: CommandAnswered | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class UserView:
    """All the ledger needs to know of one user: the account and the counted jobs, by id.

    The shell loads it at first touch in an assignment generation and keeps it in step after; it also loads the job
    that a command names. Fold over ``overlaid()``, which puts pending admissions in their place.
    """

    account: Account
    jobs: Mapping[str, Job] = field(default_factory=dict)

    def overlaid(self) -> dict[str, Job]:
        """Jobs with pending ones laid over those that are older."""
        merged = dict(self.jobs)
        for job_id, job in self.account.pending.items():
            if job_id not in merged or merged[job_id].version < job.version:
                merged[job_id] = job
        return merged


@dataclass(frozen=True, slots=True)
class Offer:
    """Scheduler: read the document; if it is still this attempt, queued and due, send ``RunAttempt`` to the worker.

    Otherwise tell the core what the document says (``Seen``), which frees the worker for another job.
    """

    worker_id: str
    session: str
    job_id: str
    attempt: int
    poll_id: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Scheduler: a message for a worker (stop, drain)."""

    message: AnyAssignment


@dataclass(frozen=True, slots=True)
class Tell:
    """Scheduler: a command for the ledger about this user's job: lost, handed back, or expired."""

    kind: str  # "lost" | "handed_back" | "ttl_expired" | "execution_timeout"
    user_id: str
    job_id: str
    run: int
    attempt: int
    worker_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShowPlace:
    """Scheduler: a place in the queue for a watcher."""

    message: QueuePlace


@dataclass(frozen=True, slots=True)
class Look:
    """Scheduler: read this document and feed ``Seen``: something names a job of which too little is known."""

    job_id: str


SchedulerEffect = Offer | Order | Tell | ShowPlace | Look
