"""A user's documents as the shell keeps them, and short ways to say commands, for the tests of the ledger core."""

from dataclasses import dataclass, field, replace
from typing import Any

from schemas.accounts import Account
from schemas.commands import (
    AnyCommand,
    AttemptFailed,
    AttemptHandedBack,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    CancelJob,
    DeleteJob,
    DeleteUser,
    JobExpired,
    RetryJob,
    SubmitJob,
)
from schemas.events import CommandAnswered, FilesDiscarded
from schemas.failures import FailureCode
from schemas.jobs import Job, Output, StoredFile
from schemas.requests import GenerationRequest
from streams.core.effects import Decision, UserView, WriteAccount, WriteJob
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy
from streams.core.recorded import Recorded
from streams.core.retention import counts, reach_for

USER = "user-1"
NOON = 1_773_144_000_000  # 2026-03-10T12:00:00Z
SECOND = 1_000
HOUR = 3_600_000
NEVER = 253_402_300_799_999


@dataclass
class Documents:
    """The stored documents of one user, and of others under ``foreign``."""

    policy: Policy = field(default_factory=Policy)
    account: Account = field(default_factory=lambda: new_account(USER))
    jobs: dict[str, Job] = field(default_factory=dict)
    now: int = NOON
    discarded: list[FilesDiscarded] = field(default_factory=list)

    def view(self, command: AnyCommand, now: int) -> UserView:
        """What the shell loads at first touch, no more."""
        met = self.jobs.get(getattr(command, "job_id", ""))
        limits = getattr(command, "limits", None) or getattr(met, "limits", None)
        reach = reach_for(self.account, self.policy, now, limits.rate_window_ms if limits else 0)
        named = {getattr(command, "job_id", None), *self.account.pending}
        everything = isinstance(command, DeleteUser)
        own = {job_id: job for job_id, job in self.jobs.items() if job.user_id == self.account.user_id}
        loaded = {
            job_id: job
            for job_id, job in self.jobs.items()
            if job_id in named or (job_id in own and (everything or counts(job, reach)))
        }
        return UserView(self.account, loaded, max((job.updated_at for job in own.values()), default=0))

    def whole_view(self) -> UserView:
        """All there is, of all time."""
        return UserView(self.account, dict(self.jobs))

    def decision(
        self,
        command: AnyCommand,
        now: int | None = None,
        stamp: int | None = None,
        recorded: Recorded | None = None,
    ) -> Decision:
        """What is decided on the view of the shell; on all there is the very same is decided."""
        at = self.now if now is None else now
        stamped = at if stamp is None else stamp
        decision = decide(self.view(command, at), command, at, self.policy, stamped, recorded)
        assert decision == decide(self.whole_view(), command, at, self.policy, stamped, recorded)
        return decision

    def write(self, decision: Decision, *, settle: bool = True) -> bool:
        """Compare-and-set, then settle; False where another writer was first, also where only the settling was late."""
        match decision.write:
            case WriteJob(job=job, expected=expected):
                assert job.version == expected + 1
                if self.version_of(job.job_id) != expected:
                    return False
                self.store(job)
            case WriteAccount(account=account, expected=expected, job=admitted):
                assert account.version == expected + 1
                if self.account.version != expected:
                    return False
                self.account = account
                if admitted and settle:
                    self.settle(admitted)
                    return self.jobs[admitted.job_id] == admitted
        return True

    def settle(self, job: Job) -> None:
        """Store unless the same or a newer version is there."""
        if self.version_of(job.job_id) < job.version:
            self.store(job)

    def store(self, job: Job) -> None:
        self.jobs[job.job_id] = job

    def version_of(self, job_id: str) -> int:
        return self.jobs[job_id].version if job_id in self.jobs else 0

    def do(self, command: AnyCommand, *, now: int | None = None, recorded: Recorded | None = None) -> Decision:
        """Decide, write, go on while there is more; the last decision."""
        decision = self.decision(command, now, recorded=recorded)
        assert self.write(decision)
        self.discarded.extend(decision.discarded)
        return self.do(command, now=now, recorded=recorded) if decision.again else decision

    def ask(self, command: AnyCommand, *, now: int | None = None, recorded: Recorded | None = None) -> CommandAnswered:
        """The answer to a command that is answered."""
        answer = self.do(command, now=now, recorded=recorded).answer
        assert answer is not None
        assert answer.command_id == command.command_id
        return answer

    def job(self, job_id: str = "j1") -> Job:
        return self.jobs[job_id]

    def put(self, job: Job, **changes: Any) -> Job:
        self.jobs[job.job_id] = replace(job, **changes)
        return self.jobs[job.job_id]


def submit(job_id: str = "j1", *, frames: int = 31, command_id: str | None = None, **more: Any) -> SubmitJob:
    members: dict[str, Any] = {
        "command_id": command_id or f"submit-{job_id}",
        "user_id": USER,
        "job_id": job_id,
        "pool": "mochi-1",
        "request": GenerationRequest(prompt="a corgi", negative_prompt="blur", num_frames=frames),
        "request_hash": f"hash-{frames}",
        "append_by": NEVER,
    }
    return SubmitJob(**{**members, **more})


def cancel(job_id: str = "j1", run: int | None = 1, command_id: str = "cancel") -> CancelJob:
    return CancelJob(command_id=command_id, user_id=USER, job_id=job_id, run=run)


def delete(job_id: str = "j1") -> DeleteJob:
    return DeleteJob(command_id="delete", user_id=USER, job_id=job_id)


def retry(job_id: str = "j1", run: int = 1, command_id: str = "retry", append_by: int = NEVER) -> RetryJob:
    return RetryJob(command_id=command_id, user_id=USER, job_id=job_id, run=run, append_by=append_by)


def started(worker: str = "w1", attempt: int = 1, job_id: str = "j1") -> AttemptStarted:
    return AttemptStarted(command_id="started", user_id=USER, job_id=job_id, attempt=attempt, worker_id=worker)


def succeeded(worker: str = "w1", attempt: int = 1, job_id: str = "j1") -> AttemptSucceeded:
    return AttemptSucceeded(
        command_id="succeeded",
        user_id=USER,
        job_id=job_id,
        attempt=attempt,
        worker_id=worker,
        output=output(worker, attempt, job_id),
    )


def output(worker: str, attempt: int, job_id: str = "j1") -> Output:
    key = f"{USER}/videos/{job_id}/{attempt}-{worker}.mp4"
    return Output(video=StoredFile(key=key, bytes=9, sha256="0" * 64, media_type="video/mp4"), frames=31)


def failed(
    worker: str = "w1",
    attempt: int = 1,
    code: FailureCode = FailureCode.WORKER_CRASHED,
    message: str = "",
    job_id: str = "j1",
) -> AttemptFailed:
    return AttemptFailed(
        command_id="failed", user_id=USER, job_id=job_id, attempt=attempt, worker_id=worker, code=code, message=message
    )


def lost(worker: str = "w1", attempt: int = 1, job_id: str = "j1") -> AttemptLost:
    return AttemptLost(command_id="lost", user_id=USER, job_id=job_id, attempt=attempt, worker_id=worker)


def handed_back(worker: str = "w1", attempt: int = 1, job_id: str = "j1") -> AttemptHandedBack:
    return AttemptHandedBack(command_id="back", user_id=USER, job_id=job_id, attempt=attempt, worker_id=worker)


def expired(
    code: FailureCode = FailureCode.TTL_EXPIRED, run: int = 1, attempt: int = 1, job_id: str = "j1"
) -> JobExpired:
    return JobExpired(command_id="expired", user_id=USER, job_id=job_id, run=run, attempt=attempt, code=code)


def gone(decision: Decision) -> set[tuple[int, str]]:
    """The discarded attempts as (attempt, worker)."""
    return {(file.attempt, file.worker_id) for file in decision.discarded}
