"""Topic ``openv.commands``: what clients ask, what workers and the scheduler report, what operators change.

Key: the user id, so that a user has one writer. Every message names the run or attempt it means; one that no longer
applies changes nothing. ``command_id`` is the CloudEvents id; a repeated id is answered the same.
"""

from typing import ClassVar, Literal

from schemas.accounts import Overrides, Role
from schemas.endpoints import EndpointId, EndpointLimits
from schemas.failures import FailureCode
from schemas.ids import JobId, Name, PoolName, Words
from schemas.instants import Instant
from schemas.jobs import Output
from schemas.numbers import Amount, Count, Duration, Price, Whole
from schemas.requests import GenerationRequest
from schemas.shape import shape


@shape
class Command:
    """What all commands share."""

    command_id: str
    user_id: str

    @property
    def message_id(self) -> str:
        return self.command_id

    @property
    def key(self) -> str:
        return self.user_id

    @property
    def subject(self) -> str:
        return getattr(self, "job_id", self.user_id)


@shape
class SubmitJob(Command):
    """Gateway → ledger: a client's request. Refused where the record lands after ``append_by`` (its sender gave up).

    Times in milliseconds; None takes the deployment's default. ``priority`` is a class: higher runs first.
    ``endpoint``: the serverless endpoint that was asked; its ``limits`` hold, counted over the user's jobs there, or
    where it has none the deployment's, counted with all else that those hold for. ``external``: its workers are not
    ours, and it makes no video of ours.
    """

    TYPE: ClassVar[str] = "dev.openv.command.submit.v1"
    job_id: JobId
    pool: PoolName
    request: GenerationRequest
    request_hash: Name
    append_by: Instant
    credits: Price = 0.0
    priority: Whole = 0
    ttl_ms: Duration | None = None
    execution_timeout_ms: Duration | None = None
    max_retries: Count | None = None
    origin: str = "openv"
    webhook: str | None = None
    endpoint: EndpointId | None = None
    external: bool = False
    limits: EndpointLimits | None = None


@shape
class CancelJob(Command):
    """Gateway → ledger: stop this run; None means whichever run is active when the command is decided.

    ``queued_only``: only where it still waits (a queue is purged).
    """

    TYPE: ClassVar[str] = "dev.openv.command.cancel.v1"
    job_id: str
    run: int | None = None
    queued_only: bool = False


@shape
class DeleteJob(Command):
    """Gateway, janitor → ledger: delete the row and the files; a running job is stopped.

    ``ended_by``: only where the job has ended, and did by then (it was kept for its time); one that goes on again is
    left alone.
    """

    TYPE: ClassVar[str] = "dev.openv.command.delete.v1"
    job_id: str
    ended_by: Instant | None = None


@shape
class RetryJob(Command):
    """Gateway → ledger: another run after the one named, which must have ended without a video.

    ``endpoint``: the serverless endpoint that was asked, whose ``limits`` as they are now measure the run; None takes
    those that the run before was admitted under.
    """

    TYPE: ClassVar[str] = "dev.openv.command.retry.v1"
    job_id: str
    run: int
    append_by: Instant
    endpoint: EndpointId | None = None
    limits: EndpointLimits | None = None


@shape
class AskUsage(Command):
    """Gateway → ledger: where does the user stand? Changes nothing; the answer's ``remaining`` says it."""

    TYPE: ClassVar[str] = "dev.openv.command.usage.v1"


@shape
class Report(Command):
    """What all reports about an attempt share: the fencing token."""

    job_id: str
    attempt: int
    worker_id: Name


@shape
class AttemptStarted(Report):
    """Worker → ledger: the attempt runs here."""

    TYPE: ClassVar[str] = "dev.openv.attempt.started.v1"


@shape
class AttemptSucceeded(Report):
    """Worker → ledger: the files are stored."""

    TYPE: ClassVar[str] = "dev.openv.attempt.succeeded.v1"
    output: Output


@shape
class AttemptFailed(Report):
    """Worker → ledger: it failed; whether it is tried again is the ledger's decision.

    ``output``: what an external worker said in failing; kept if this was the last try.
    """

    TYPE: ClassVar[str] = "dev.openv.attempt.failed.v1"
    code: FailureCode
    message: Words = ""
    output: Output | None = None


@shape
class AttemptHandedBack(Report):
    """Worker or scheduler → ledger: given back unharmed (draining, never taken); costs no try."""

    TYPE: ClassVar[str] = "dev.openv.attempt.handed_back.v1"
    reason: Words = ""


@shape
class AttemptLost(Report):
    """Scheduler → ledger: the worker's lease ran out, or a new session of the same worker began."""

    TYPE: ClassVar[str] = "dev.openv.attempt.lost.v1"
    reason: Words = ""


@shape
class JobExpired(Command):
    """Scheduler → ledger: this run outlived its ttl, or its current attempt its execution timeout."""

    TYPE: ClassVar[str] = "dev.openv.command.expire.v1"
    job_id: str
    run: int
    attempt: int
    code: Literal[FailureCode.TTL_EXPIRED, FailureCode.EXECUTION_TIMEOUT]


@shape
class GrantCredits(Command):
    """Operator or payment → ledger: credits given or taken. ``grant_id`` counts once."""

    TYPE: ClassVar[str] = "dev.openv.account.grant.v1"
    grant_id: str
    credits: Amount
    expires_at: Instant | None = None
    reason: Words = ""


@shape
class SetOverrides(Command):
    """Operator → ledger: replace the user's exceptions. The newest ``issued_at`` wins."""

    TYPE: ClassVar[str] = "dev.openv.account.overrides.v1"
    overrides: Overrides
    issued_at: Instant


@shape
class SetRole(Command):
    """Operator or identity provider → ledger. The newest ``issued_at`` wins."""

    TYPE: ClassVar[str] = "dev.openv.account.role.v1"
    role: Role
    issued_at: Instant


@shape
class RedeemVoucher(Command):
    """Gateway → ledger: raise the role to at least ``role``, once a code and user. The gateway has seen the voucher."""

    TYPE: ClassVar[str] = "dev.openv.account.voucher.v1"
    code: Name
    role: Role
    append_by: Instant


@shape
class SetBlocked(Command):
    """Operator → ledger: a blocked account submits nothing; what runs goes on. The newest ``issued_at`` wins."""

    TYPE: ClassVar[str] = "dev.openv.account.blocked.v1"
    blocked: bool
    issued_at: Instant
    reason: Words = ""


@shape
class DeleteUser(Command):
    """Identity provider or operator → ledger: delete the account, its jobs and its files."""

    TYPE: ClassVar[str] = "dev.openv.account.delete.v1"
    issued_at: Instant


COMMANDS = (
    SubmitJob,
    CancelJob,
    DeleteJob,
    RetryJob,
    AskUsage,
    AttemptStarted,
    AttemptSucceeded,
    AttemptFailed,
    AttemptHandedBack,
    AttemptLost,
    JobExpired,
    GrantCredits,
    SetOverrides,
    SetRole,
    RedeemVoucher,
    SetBlocked,
    DeleteUser,
)
JobCommand = SubmitJob | CancelJob | DeleteJob | RetryJob | JobExpired
AttemptReport = AttemptStarted | AttemptSucceeded | AttemptFailed | AttemptHandedBack | AttemptLost
AccountCommand = GrantCredits | SetOverrides | SetRole | RedeemVoucher | SetBlocked | DeleteUser
AnyCommand = JobCommand | AskUsage | AttemptReport | AccountCommand
