"""One command being decided: what is known of its user, the time, and the few ways a decision can turn out.

Every change of a job's state goes through ``Case.moved``, and so through the life-cycle table.
"""

from dataclasses import dataclass, replace
from typing import Any

from schemas.accounts import Account
from schemas.commands import AccountCommand, Command
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FAILURES, FailureCode
from schemas.jobs import Failure, Job, Remaining
from schemas.lifecycle import Fact, advance
from streams.core.apply import applied, still_pending
from streams.core.discards import discarded
from streams.core.effects import Decision, UserView, WriteAccount, WriteJob
from streams.core.policy import DEPLOYMENT, Policy, scope_of
from streams.core.quota import remaining
from streams.core.recorded import Recorded

MESSAGE_MAX = 500  # characters of an engine's text that are kept


@dataclass(frozen=True, slots=True)
class Case:
    """``now``: the record's time, that of effects; ``stamp``: what documents written say as ``updated_at``, later than
    any before. ``recorded``: where the record repeats another (``recorded.py``), what is known of that one's."""

    view: UserView
    now: int
    policy: Policy
    stamp: int
    recorded: Recorded | None = None

    @property
    def recorded_at(self) -> int:
        """When the command was recorded at first: what guards ask that mean what its sender can have known."""
        return self.now if self.recorded is None else self.recorded.at

    @property
    def told_again(self) -> bool:
        """Whether the record repeats an earlier one."""
        return self.recorded_at < self.now

    @property
    def set_aside(self) -> bool:
        """Whether it is a dead letter that was written again: nobody had decided it."""
        return self.recorded is not None and self.recorded.set_aside

    def is_late(self, append_by: int) -> bool:
        """Whether a command that nothing has decided yet comes after its time. What was set aside was promised to its
        sender when it was recorded. What is only told again was decided then: where no document says so any more (an
        old backup of them was restored), it is not decided a second time."""
        return (self.recorded_at if self.set_aside else self.now) > append_by

    @property
    def precedes_deletion(self) -> bool:
        """Whether it repeats what was recorded before the user was deleted, which stays gone should they come back."""
        return self.told_again and self.recorded_at <= self.view.account.deleted_issued_at

    def named(self, job_id: str) -> Job | None:
        """The user's job of that id. A command recorded before its job was found none, and replayed still does not."""
        job = self.view.own(job_id)
        return job if job is not None and self.recorded_at >= self.asked_for(job, job.created_at) else None

    def asked_for(self, job: Job, decided_at: int) -> int:
        """When the job or its newest run began for the sender of this command. Both may have been set aside: then what
        counts is the order in which they were recorded."""
        return min(decided_at, job.asked_at) if self.set_aside and job.asked_at is not None else decided_at

    def is_foreign(self, job_id: str) -> bool:
        """Whether the id is another user's job, of which nothing may be told."""
        return job_id in self.view.jobs and self.view.own(job_id) is None

    def moved(self, job: Job, fact: Fact, **changes: Any) -> Job | None:
        """The job's next version after the fact, or None where the life-cycle table has no such move."""
        state = advance(job.state, fact)
        if state is None:
            return None
        return replace(job, state=state, version=job.version + 1, updated_at=self.stamp, **changes)

    def next_account(self, *, admitting: Job | None = None, **changes: Any) -> Account:
        """The account's next version: what is settled leaves ``pending``, what is admitted enters it."""
        pending = still_pending(self.view)
        if admitting is not None:
            pending[admitting.job_id] = admitting
        account = self.view.account
        return replace(account, version=account.version + 1, pending=pending, **changes)

    def account_write(self, account: Account, job: Job | None = None) -> WriteAccount:
        return WriteAccount(account, self.view.account.version, job)

    def decided(
        self,
        command: Command,
        outcome: Outcome,
        *,
        job: Job | None = None,
        write: WriteJob | WriteAccount | None = None,
        code: FailureCode | None = None,
        left: Remaining | None = None,
    ) -> Decision:
        """Announce ``job`` and answer the command; ``left`` is where the user stands after the write, if not given: on
        the job's endpoint, where it is of one."""
        after = applied(self.view, Decision(write=write))
        answer = CommandAnswered(
            command_id=command.command_id,
            user_id=command.user_id,
            outcome=outcome,
            job_id=getattr(command, "job_id", None),
            version=job.version if job else None,
            code=code,
            remaining=left or remaining(after, self.policy, self.now, scope_of(job) if job else DEPLOYMENT),
        )
        jobs = (job,) if job else ()
        return Decision(write=write, jobs=jobs, discarded=discarded(job) if job else (), answer=answer)

    def account_decided(self, command: AccountCommand, outcome: Outcome, account: Account | None = None) -> Decision:
        """Write ``account`` if given, announce the account that holds then, and answer."""
        write = self.account_write(account) if account else None
        decision = self.decided(command, outcome, write=write)
        known = account or self.view.account
        return replace(decision, account=known if known.version else None)


def opened(view: UserView, now: int, policy: Policy, stamp: int, recorded: Recorded | None = None) -> Case:
    """A case, its stamp moved past every ``updated_at`` of the user, so that a client that polls misses no change."""
    return Case(view, now, policy, max(stamp, view.newest_change + 1), recorded)


def failure(code: FailureCode, message: str = "") -> Failure:
    """A failure with words for a person: the given ones, cut to size, or the code's own."""
    return Failure(code=code, message=message[:MESSAGE_MAX] or FAILURES[code].text)
