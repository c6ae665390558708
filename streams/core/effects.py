"""What a decision asks of the shell, as data. ``streams/perform.py`` interprets it; the order is the contract's.

The ledger: one write (a compare-and-set), then announcements. The scheduler: messages to workers, ledger, watchers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from schemas.accounts import Account
from schemas.dispatch import AnyAssignment
from schemas.events import CommandAnswered, FilesDiscarded
from schemas.instants import Instant
from schemas.jobs import Job
from schemas.progress import PoolShown, QueuePlace
from streams.core.folds import Sums, sums_of


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


@dataclass(frozen=True)
class UserView:
    """All the ledger needs to know of one user: the account and the counted jobs, by id.

    The shell loads it at first touch in an assignment generation and keeps it in step after; it also loads the job
    that a command names, be it another user's. Pending admissions are laid over older documents in all that it tells.
    ``changed_at``: the newest ``updated_at`` of the user's jobs that are not in it (any more).
    """

    account: Account
    jobs: Mapping[str, Job] = field(default_factory=dict)
    changed_at: Instant = 0

    def overlaid(self) -> dict[str, Job]:
        """Jobs with pending ones laid over those that are older."""
        return {**self.jobs, **{job.job_id: job for job in self._open()}}

    def own_jobs(self) -> dict[str, Job]:
        """The user's jobs, pending ones in their place. A foreign job that a command named is left out."""
        return {job_id: job for job_id, job in self.overlaid().items() if job.user_id == self.account.user_id}

    def own(self, job_id: str) -> Job | None:
        """The user's job of that id, as pending where that is newer."""
        stored, pending = self.jobs.get(job_id), self.account.pending.get(job_id)
        job = pending if pending and (stored is None or stored.version < pending.version) else stored
        return job if job is not None and job.user_id == self.account.user_id else None

    @cached_property
    def sums(self) -> Sums:
        """What the user's jobs come to."""
        sums = self._stored
        for job in self._open():
            sums = sums.after(self._own_stored(job.job_id), job)
        return sums

    @property
    def newest_change(self) -> Instant:
        """The newest ``updated_at`` of all the user's jobs."""
        return max(self.changed_at, self.sums.changed_at)

    def with_job(self, job: Job) -> "UserView":
        """The view with this document stored. What was summed up is moved along, not folded again."""
        view = UserView(self.account, {**self.jobs, job.job_id: job}, self.changed_at)
        if "_stored" in self.__dict__:
            own = job.user_id == self.account.user_id
            view.__dict__["_stored"] = self._stored.after(self._own_stored(job.job_id), job) if own else self._stored
        return view

    def with_account(self, account: Account) -> "UserView":
        """The view with the user's account as it is now."""
        view = UserView(account, self.jobs, self.changed_at)
        if "_stored" in self.__dict__:
            view.__dict__["_stored"] = self._stored
        return view

    @cached_property
    def _stored(self) -> Sums:
        return sums_of(job for job in self.jobs.values() if job.user_id == self.account.user_id)

    def _own_stored(self, job_id: str) -> Job | None:
        stored = self.jobs.get(job_id)
        return stored if stored is not None and stored.user_id == self.account.user_id else None

    def _open(self) -> list[Job]:
        """Pending admissions that are newer than what is stored."""
        found = []
        for job_id, job in self.account.pending.items():
            stored = self.jobs.get(job_id)
            if stored is None or stored.version < job.version:
                found.append(job)
        return found


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
class ShowPool:
    """Scheduler: the pool's workers, for whoever asks how it is."""

    message: PoolShown


@dataclass(frozen=True, slots=True)
class Look:
    """Scheduler: read this document and feed ``Seen``: something names a job of which too little is known."""

    job_id: str


SchedulerEffect = Offer | Order | Tell | ShowPlace | ShowPool | Look
