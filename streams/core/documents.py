"""What the job documents say: news of them (``JobMoved``), answers (``Seen``), all of them at once (``Loaded``).

Versions decide: what is older than what is known changes nothing, in whatever order it arrives.
"""

from dataclasses import replace

from schemas.dispatch import JobMoved, WorkerKind
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from streams.core.draft import Draft
from streams.core.estimates import learned
from streams.core.leases import Sign, grant, observe
from streams.core.pool_state import Ended, Entry, Lease, Loaded, Phase, Seen, entry_of
from streams.core.workers import judge


def on_moved(draft: Draft, moved: JobMoved) -> None:
    """The ledger wrote the document. A job that is not known, or starts another run, is read as a whole."""
    if moved.version <= draft.version_of(moved.job_id):
        return
    if moved.state not in ACTIVE:
        finish(draft, moved.job_id, moved.version, moved.state, moved.worker_id)
        return
    entry = draft.jobs.get(moved.job_id)
    if entry is None or entry.run != moved.run:
        draft.look(moved.job_id)
        return
    fresh = replace(
        entry,
        state=moved.state,
        version=moved.version,
        attempt=moved.attempt,
        due_at=moved.due_at,
        worker_id=moved.worker_id,
        started_at=draft.now if moved.state is State.PROCESSING else None,
    )
    update(draft, fresh)


def on_seen(draft: Draft, seen: Seen) -> None:
    """A document that was asked for, or one that an offer did not fit."""
    job = seen.job
    if job is None or job.pool != draft.state.pool:
        finish(draft, seen.job_id, 0, State.DELETED, None)
    else:
        on_document(draft, job)


def on_loaded(draft: Draft, loaded: Loaded) -> None:
    """All active documents, read a moment ago.

    A job that is known but not among them is asked for by itself: it may have ended unheard, or have come after the
    read; its own document tells which.
    """
    for job in loaded.jobs:
        if job.pool == draft.state.pool:
            on_document(draft, job)
    present = {job.job_id for job in loaded.jobs}
    for job_id in draft.jobs:
        if job_id not in present:
            draft.look(job_id)


def on_document(draft: Draft, job: Job) -> None:
    """Take over a whole document, if it is newer."""
    if job.version <= draft.version_of(job.job_id):
        return
    if job.state in ACTIVE:
        update(draft, entry_of(job))
    else:
        finish(draft, job.job_id, job.version, job.state, job.worker_id)


def update(draft: Draft, fresh: Entry) -> None:
    """An active job as its newer document has it: keep the lease if it still fits, and compare with the workers."""
    old = draft.jobs.get(fresh.job_id)
    lease = old.lease if old else None
    if old is not None and (old.run, old.attempt) == (fresh.run, fresh.attempt):
        fresh = replace(fresh, told=old.told, started_at=old.started_at or fresh.started_at)
    if lease is not None and not fits(lease, fresh):
        withdraw(draft, fresh, lease, f"the job is {fresh.state} elsewhere")
        lease = None
    draft.revive(replace(fresh, lease=lease))
    if fresh.state is State.PROCESSING:
        _note_start(draft, draft.jobs[fresh.job_id])
    _compare(draft, fresh.job_id)


def fits(lease: Lease, entry: Entry) -> bool:
    """Whether the document still allows this lease: the same attempt, and nobody else started it."""
    if lease.attempt != entry.attempt:
        return False
    return entry.state is State.QUEUED or entry.worker_id in (None, lease.worker_id)


def withdraw(draft: Draft, entry: Entry, lease: Lease, reason: str) -> None:
    """A lease that the document ended: whoever holds it stops; an offer that was never taken is not counted."""
    if lease.phase is Phase.OFFERED:
        draft.charge(entry.user_id, -entry.work)
    draft.stop(lease.worker_id, lease.session, entry.job_id, lease.attempt, reason)


def finish(draft: Draft, job_id: str, version: int, state: State, worker_id: str | None) -> None:
    """The job left the pool. A worker whose own report ended it knows; any other that runs it is stopped."""
    entry = draft.jobs.get(job_id)
    reported_by = worker_id if state is State.COMPLETED else None
    if entry is not None:
        if state is State.COMPLETED and entry.started_at is not None:
            draft.durations = learned(draft.durations, entry.shape, max(0, draft.now - entry.started_at))
        lease = entry.lease
        if lease is not None and lease.worker_id == worker_id:
            _note_taken(draft, lease)
        if lease is not None and _by_its_holder(entry, lease, state, worker_id):
            reported_by = worker_id
            _note_worked(draft, lease.worker_id)
        elif lease is not None:
            withdraw(draft, entry, lease, f"the job is {state}")
    draft.end(job_id, Ended(version, draft.now, reported_by))
    _compare(draft, job_id)


def _note_worked(draft: Draft, worker_id: str) -> None:
    """Offers that it ignored are forgiven: a short job is never named by a beat."""
    worker = draft.workers.get(worker_id)
    if worker is not None and worker.ignored:
        draft.put_worker(replace(worker, ignored=0))


def _by_its_holder(entry: Entry, lease: Lease, state: State, worker_id: str | None) -> bool:
    """Whether the lease's holder reported the end itself.

    A late success of an earlier attempt is not about this lease, even where the same worker was offered the newer one.
    """
    if state not in (State.COMPLETED, State.FAILED) or lease.worker_id != worker_id:
        return False
    return lease.phase is Phase.RUNNING or (lease.phase is Phase.OFFERED and entry.worker_id == worker_id)


def _note_start(draft: Draft, entry: Entry) -> None:
    """Its worker started it; of an SDK worker that says only that a poll was answered. Where no lease is known (a
    rebuild), it begins now, and is taken to run."""
    if entry.lease is None:
        worker = draft.workers.get(entry.worker_id or "")
        grant(draft, entry, worker, Phase.RUNNING)
    else:
        _note_taken(draft, entry.lease)
        observe(draft, entry, Sign.TAKEN if entry.lease.kind is WorkerKind.SDK else Sign.STARTED)


def _note_taken(draft: Draft, lease: Lease) -> None:
    """The poll that an offer answered asks for nothing more: its job may end before the slot is heard of again."""
    worker = draft.workers.get(lease.worker_id)
    if worker is not None and worker.asking and lease.poll_id is not None and worker.poll_id == lease.poll_id:
        draft.put_worker(replace(worker, asking=False))


def _compare(draft: Draft, job_id: str) -> None:
    """Workers that name the job, against its new document."""
    for worker in list(draft.workers.values()):
        if worker.job_id == job_id:
            judge(draft, worker)
