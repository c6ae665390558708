"""Topic ``openv.events``: what happened. Written by the ledger alone, read by every gateway, notifier and janitor.

Job events are a function of the job document: the same document is announced the same, with the same CloudEvents id,
however often; readers drop what they know by (job id, version). Answers and discarded files are never deduplicated.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from schemas.accounts import Account
from schemas.failures import FailureCode
from schemas.ids import Name
from schemas.jobs import Job, Remaining
from schemas.lifecycle import State
from schemas.shape import shape


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Ledger → all: the job is now as ``job`` says. One type a state: ``dev.openv.job.queued.v1`` and so on."""

    TYPES: ClassVar[tuple[str, ...]] = tuple(f"dev.openv.job.{state}.v1" for state in State)
    job: Job

    @property
    def type(self) -> str:
        return f"dev.openv.job.{self.job.state}.v1"

    @property
    def message_id(self) -> str:
        return f"{self.job.job_id}:{self.job.version}"

    @property
    def key(self) -> str:
        return self.job.user_id

    @property
    def subject(self) -> str:
        return self.job.job_id


class Outcome(StrEnum):
    ADMITTED = "admitted"  # submit or manual retry: queued, seconds reserved
    REFUSED = "refused"  # submit or manual retry: see ``code``
    DONE = "done"  # cancel, delete, account change: applied
    UNCHANGED = "unchanged"  # it no longer applied, or only asked; the document stands as announced
    NOT_FOUND = "not_found"  # no such job of this user
    SET_ASIDE = "set_aside"  # a dead letter now: what it needs of MongoDB can't be read; sent again, it is decided


@shape
class CommandAnswered:
    """Ledger → gateways: the decision on one command; what a waiting request matches on."""

    TYPE: ClassVar[str] = "dev.openv.command.answered.v1"
    command_id: str
    user_id: str
    outcome: Outcome
    job_id: str | None = None
    version: int | None = None
    code: FailureCode | None = None
    remaining: Remaining | None = None

    @property
    def message_id(self) -> str:
        return f"{self.command_id}:answer"

    @property
    def key(self) -> str:
        return self.user_id

    @property
    def subject(self) -> str:
        return self.job_id or self.user_id


@shape
class FilesDiscarded:
    """Ledger → janitor: files of this attempt on this worker are nobody's; delete them."""

    TYPE: ClassVar[str] = "dev.openv.files.discarded.v1"
    user_id: str
    job_id: str
    attempt: int
    worker_id: Name

    @property
    def message_id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.worker_id}:discarded"

    @property
    def key(self) -> str:
        return self.user_id

    @property
    def subject(self) -> str:
        return self.job_id


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """Ledger → all: the account is now as ``account`` says (``pending`` left out). A deleted one tells the janitor."""

    TYPES: ClassVar[tuple[str, ...]] = ("dev.openv.account.changed.v1", "dev.openv.account.deleted.v1")
    account: Account

    @property
    def type(self) -> str:
        return self.TYPES[1] if self.account.deleted_at is not None else self.TYPES[0]

    @property
    def message_id(self) -> str:
        return f"{self.account.user_id}:{self.account.version}"

    @property
    def key(self) -> str:
        return self.account.user_id

    @property
    def subject(self) -> str:
        return self.account.user_id


AnyEvent = JobEvent | CommandAnswered | FilesDiscarded | AccountEvent
