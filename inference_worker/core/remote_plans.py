"""What to do about a job's run on a foreign service: submit, take over, wait for word of it, leave it, or cancel it.

One (job, run) is submitted once, whichever attempt, worker or process asks: a later attempt takes over what an earlier
one began, unless that is known to have failed. Between the intent and the answer lies a moment of which nobody knows
whether the service has the run: it is given some time to call (its call says the id), then the run is submitted again.
"""

from dataclasses import dataclass, replace

from schemas.jobs import Failure, Job
from schemas.lifecycle import ACTIVE, State
from schemas.remote_runs import RemoteFact, RemoteRun, RemoteState, advance

SUBMISSIONS_MOST = 2  # of one attempt whose submissions nobody answers, or whose run the service forgets
ORPHANED_MS = 60_000  # how long somebody else may have an attempt before the run that it did not take over is cancelled
UNSEEN_MS = 60_000  # how long after a stop the document may take to say why


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants the run: an attempt on a worker. ``wait_ms``: how long after an intent the service may yet call."""

    job_id: str
    run: int
    attempt: int
    worker_id: str
    target: str
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Submit:
    """Store this intent, then submit."""

    intent: RemoteRun


@dataclass(frozen=True, slots=True)
class Follow:
    """The service has it. ``remote``: as it is to be stored, where ``takes_over``."""

    remote: RemoteRun
    takes_over: bool


@dataclass(frozen=True, slots=True)
class Await:
    """It may have been submitted: wait until ``until`` (ms) for a call that says its id."""

    remote: RemoteRun
    until: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The attempt has failed. ``failure`` None: the service loses what it is given."""

    failure: Failure | None


Plan = Submit | Follow | Await | GiveUp


def plan(known: RemoteRun | None, asker: Asker, now: int) -> Plan:
    """What an attempt that was just taken, or taken up again, does first."""
    if known is None:
        return Submit(_intent(asker, now))
    mine = (known.attempt, known.worker_id) == (asker.attempt, asker.worker_id)
    if known.state in (RemoteState.SUBMITTED, RemoteState.MADE):
        if mine:
            return Follow(known, takes_over=False)
        taken = replace(known, attempt=asker.attempt, worker_id=asker.worker_id, version=known.version + 1)
        return Follow(taken, takes_over=True)
    if known.state is RemoteState.INTENDED and now < known.intended_at + asker.wait_ms:
        return Await(known, known.intended_at + asker.wait_ms)
    if known.attempt != asker.attempt:
        return Submit(_again(known, asker, now, submissions=1))
    if known.failure is not None or known.submissions >= SUBMISSIONS_MOST:
        return GiveUp(known.failure)
    return Submit(_again(known, asker, now, submissions=known.submissions + 1))


def moved(
    remote: RemoteRun, fact: RemoteFact, *, remote_id: str | None = None, failure: Failure | None = None
) -> RemoteRun:
    """The run after the fact. A fact that can't happen there is a fault of ours."""
    state = advance(remote.state, fact)
    if state is None:
        raise AssertionError(f"{remote.state} cannot meet: {fact}")
    return replace(
        remote,
        state=state,
        version=remote.version + 1,
        remote_id=remote_id or remote.remote_id,
        failure=failure,
    )


def sent_now(intent: RemoteRun, now: int) -> RemoteRun:
    """The same intent before another try of a submission that surely did not happen."""
    return replace(intent, intended_at=now, version=intent.version + 1)


@dataclass(frozen=True, slots=True)
class Leave:
    """Somebody has it, or will."""


@dataclass(frozen=True, slots=True)
class Ask:
    """It is not clear yet; look again."""


@dataclass(frozen=True, slots=True)
class End:
    """Nobody wants it: ``cancel`` it there if need be, then forget it."""

    cancel: bool


Fate = Leave | Ask | End


def fate(remote: RemoteRun, job: Job | None, now: int) -> Fate:
    """Of a run that no slot of this process follows."""
    if job is None or job.state not in ACTIVE or job.run != remote.run:
        return _end(remote)
    # Only what runs there costs anything: an intent may yet be taken over by whoever waits for its id.
    runs = remote.state is RemoteState.SUBMITTED
    other = job.state is State.PROCESSING and job.worker_id != remote.worker_id
    if runs and other and now >= (job.started_at or now) + ORPHANED_MS:
        return _end(remote)
    return Leave()


def fate_after_stop(
    remote: RemoteRun, attempt: int, worker_id: str, job: Job | None, stopped_at: int, now: int
) -> Fate:
    """Of the run of an attempt that was just told to stop here: its job has ended, or somebody else takes it over.

    The attempt's own overtime stops it too, and then the document says so only a moment later.
    """
    if (remote.attempt, remote.worker_id) != (attempt, worker_id):
        return Leave()
    if job is None or job.state not in ACTIVE or job.run != remote.run:
        return _end(remote)
    if job.attempt != attempt or job.worker_id not in (None, worker_id):
        return Leave()
    return _end(remote) if now >= stopped_at + UNSEEN_MS else Ask()


def resumes(remote: RemoteRun, job: Job | None) -> bool:
    """Whether the worker of that name still has the attempt, as far as the document knows."""
    if job is None or job.state not in ACTIVE:
        return False
    return (job.run, job.attempt) == (remote.run, remote.attempt) and job.worker_id in (None, remote.worker_id)


def _end(remote: RemoteRun) -> End:
    return End(cancel=remote.state is RemoteState.SUBMITTED)


def _intent(asker: Asker, now: int) -> RemoteRun:
    return RemoteRun(
        job_id=asker.job_id,
        run=asker.run,
        target=asker.target,
        worker_id=asker.worker_id,
        attempt=asker.attempt,
        state=RemoteState.INTENDED,
        version=1,
        intended_at=now,
    )


def _again(known: RemoteRun, asker: Asker, now: int, *, submissions: int) -> RemoteRun:
    state = advance(known.state, RemoteFact.AGAIN)
    if state is None:
        raise AssertionError(f"{known.state} cannot be submitted again")
    return replace(_intent(asker, now), state=state, version=known.version + 1, submissions=submissions)
