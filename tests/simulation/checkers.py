"""What must be true at every write. The checker keeps its own history; of the cores it uses only tables and folds.

The *logical* document of a job is the newer one of what is stored and what its account holds as pending.
"""

from collections import Counter
from dataclasses import replace
from math import fsum

from schemas.accounts import Account
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import ACTIVE, TRANSITIONS, Fact, State
from streams.core.credits import balance
from streams.core.discards import may_deliver
from streams.core.policy import Policy, limits_of, scope_of
from streams.core.quota import period_of
from tests.simulation.servers import Bucket, Database
from tests.simulation.world import World

COUNTED = (ChargeState.RESERVED, ChargeState.CAPTURED)
STEP_SECONDS = 6 / 24
TINY = 1e-6
Edge = tuple[State | None, str, State]


def edge_of(old: Job | None, new: Job) -> Edge:
    """Which row of the life-cycle table this write went through; raises LookupError where there is none."""
    if old is None:
        if new.state not in (State.QUEUED, State.REJECTED):
            raise LookupError
        return None, "submitted", new.state
    if old.state is State.REJECTED and new.state in (State.QUEUED, State.REJECTED):
        return old.state, "submitted again", new.state
    if old.state is new.state and replace(new, version=0, updated_at=0, refusal=None) == replace(
        old, version=0, updated_at=0, refusal=None
    ):
        return old.state, "retry refused", new.state
    for fact, state in TRANSITIONS[old.state].items():
        if state is new.state and _fits(old, new, fact):
            return old.state, fact, state
    raise LookupError


def _fits(old: Job, new: Job, fact: Fact) -> bool:
    """Tells facts apart that lead to one state, and that what they count moved with them."""
    moved = (new.run - old.run, new.attempt - old.attempt, new.tries - old.tries)
    match fact:
        case Fact.RETRY:
            return moved == (0, 1, 1)
        case Fact.HANDED_BACK:
            return moved == (0, 1, 0)
        case Fact.RETRIED:
            return moved[:2] == (1, 1) and new.tries == 1
    return moved == (0, 0, 0)


class Safety:
    """Watches every write. ``versions``: each logical document there ever was; ``edges``: how often each was met."""

    def __init__(self, world: World, database: Database, bucket: Bucket, policy: Policy) -> None:
        self.edges: Counter[Edge] = Counter()
        self.versions: dict[tuple[str, int], Job] = {}
        self.newest: dict[str, Job] = {}
        self.late_files: set[str] = set()
        self.writes = 0
        self._world, self._database, self._bucket, self._policy = world, database, bucket, policy
        database.on_job = self.job_written
        database.on_account = self.account_written
        bucket.on_delete = self.file_deleted
        bucket.on_put = self.file_stored

    def job_written(self, job: Job, writer: str, now: int) -> None:
        self.writes += 1
        detail = f"v{job.version} {job.state} run {job.run} attempt {job.attempt} try {job.tries} {job.charge.state}"
        self._world.note(writer, "wrote job", job.job_id, f"{detail} by {job.worker_id or '-'}")
        self._moved(job)

    def account_written(self, before: Account | None, account: Account, writer: str, now: int) -> None:
        self.writes += 1
        pending = " ".join(f"{job.job_id}:v{job.version}" for job in account.pending.values())
        self._world.note(writer, "wrote account", account.user_id, f"v{account.version} pending {pending or '-'}")
        if account.version != (before.version if before else 0) + 1:
            self._world.fail(f"account {account.user_id} went from {before} to version {account.version}")
        held = before.pending if before else {}
        for job_id, job in held.items():
            stored = self._database.jobs.get(job_id)
            if job_id not in account.pending and (stored is None or stored.version < job.version):
                self._world.fail(f"{account.user_id} let go of {job_id} before it was stored")
        for job_id, job in account.pending.items():
            if held.get(job_id) != job:
                self._moved(job)
                if job.state is State.QUEUED:
                    self._admitted(account, job, now)

    def file_stored(self, key: str) -> None:
        """Late is a file that nobody could use any more when it came."""
        _, _, job_id, number, worker, _ = key.split("/")
        job = self.newest.get(job_id)
        over = job is not None and job.output is not None and key not in visible(job)
        if job is None or over or not may_deliver(job, int(number), worker):
            self.late_files.add(key)
        else:
            self.late_files.discard(key)

    def file_deleted(self, key: str, who: str) -> None:
        self._world.note(who, "deleted", key.rsplit("/", 1)[1], key)
        for job in self.newest.values():
            if job.output is not None and key in visible(job):
                self._world.fail(f"{who} deleted {key}, which {job.job_id} shows")

    def _moved(self, job: Job) -> None:
        old = self.newest.get(job.job_id)
        if old is not None and job.version <= old.version:
            if self.versions.get((job.job_id, job.version)) != job:
                self._world.fail(f"{job.job_id} has two documents of version {job.version}: {job} and another")
            return
        if job.version != (old.version if old else 0) + 1:
            self._world.fail(f"{job.job_id} jumped to version {job.version} from {old}")
        try:
            edge = edge_of(old, job)
        except LookupError:
            self._world.fail(f"{job.job_id} moved against the table: {old} became {job}")
        self.edges[edge] += 1
        self._unchanged_parts(old, job)
        self._charge(old, job)
        self._output(job)
        self.newest[job.job_id] = job
        self.versions[job.job_id, job.version] = job

    def _unchanged_parts(self, old: Job | None, job: Job) -> None:
        if old is None:
            return
        if old.state is not State.REJECTED and old.created_at != job.created_at:
            self._world.fail(f"{job.job_id} was created anew")
        if (old.user_id, old.pool) != (job.user_id, job.pool) or job.updated_at <= old.updated_at:
            self._world.fail(f"{job.job_id} changed hands, or its time went back: {old.updated_at} {job.updated_at}")

    def _charge(self, old: Job | None, job: Job) -> None:
        """Reserved, then captured or refunded, once a run; captured without a video only where the policy says so."""
        due = {
            State.QUEUED: (ChargeState.RESERVED,),
            State.PROCESSING: (ChargeState.RESERVED,),
            State.COMPLETED: (ChargeState.CAPTURED,),
            State.FAILED: (ChargeState.REFUNDED,),
            State.TIMED_OUT: (ChargeState.REFUNDED,),
            State.REJECTED: (ChargeState.NONE,),
            State.CANCELLED: (ChargeState.REFUNDED, ChargeState.CAPTURED),
            State.DELETED: (ChargeState.REFUNDED, ChargeState.CAPTURED, ChargeState.NONE),
        }[job.state]
        if job.charge.state not in due:
            self._world.fail(f"{job.job_id} is {job.state} and its charge {job.charge.state}")
        settled = old is not None and old.run == job.run and old.charge.state in (*due_ends(), ChargeState.NONE)
        if old is not None and settled and old.state is not State.REJECTED and old.charge != job.charge:
            self._world.fail(f"{job.job_id} was charged twice in run {job.run}: {old.charge} then {job.charge}")
        if self._policy.refund_on_cancel == "all":
            captured = [c for c in (job.charge, *job.earlier_charges) if c.state is ChargeState.CAPTURED]
            if len(captured) > 1 or (captured and job.state not in (State.COMPLETED, State.DELETED)):
                self._world.fail(f"{job.job_id} is {job.state} and charged {len(captured)} times")

    def _output(self, job: Job) -> None:
        a_word = job.state is State.FAILED and job.external  # what an external worker said in failing
        if (job.output is not None) != (job.state is State.COMPLETED) and not a_word:
            self._world.fail(f"{job.job_id} is {job.state} and its output {job.output}")
        missing = [key for key in visible(job) if key not in self._bucket.twin.objects]
        if missing:
            self._world.fail(f"{job.job_id} shows files that are not there: {missing}")
        if job.output and any(f"/{job.winning_attempt}/{job.worker_id}/" not in key for key in visible(job)):
            self._world.fail(f"{job.job_id} shows files of another attempt than {job.winning_attempt}-{job.worker_id}")

    def _admitted(self, account: Account, job: Job, now: int) -> None:
        """Against all documents there are, not against what the writer knew of them."""
        jobs = [one for one in self.newest.values() if one.user_id == account.user_id]
        limits = limits_of(account, self._policy, scope_of(job))
        there = [one for one in jobs if one.endpoint == job.endpoint]
        counting = [c for one in jobs for c in (one.charge, *one.earlier_charges) if c.state in COUNTED]
        start, end = period_of(self._policy, now)
        used = fsum(charge.seconds for charge in counting if start <= charge.reserved_at < end)
        if job.charge.seconds and used > limits.seconds + STEP_SECONDS + TINY:
            self._world.fail(f"{account.user_id} uses {used} s of {limits.seconds} s after {job.job_id}")
        active = sum(one.state in ACTIVE for one in there)
        if active > limits.max_active:
            self._world.fail(f"{account.user_id} has {active} active jobs of {limits.max_active} after {job.job_id}")
        if job.charge.credits and balance(account.grants, counting, now) < -TINY:
            self._world.fail(f"{account.user_id} overspent credits with {job.job_id}")
        since = now - limits.rate_window_ms
        asked = [c for one in there for c in (one.charge, *one.earlier_charges) if c.state is not ChargeState.NONE]
        if sum(charge.reserved_at > since for charge in asked) > limits.rate_limit:
            self._world.fail(f"{account.user_id} was admitted too often with {job.job_id}")


def due_ends() -> tuple[ChargeState, ...]:
    """Charges that do not change any more within a run."""
    return ChargeState.CAPTURED, ChargeState.REFUNDED


def visible(job: Job) -> list[str]:
    """The keys that the document shows."""
    output = job.output
    return [file.key for file in (output.video, output.poster, output.thumbnail) if file] if output else []
