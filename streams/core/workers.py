"""What workers say: heartbeats with their whole state, farewells, refusals; and the operator's word to drain one.

A session's messages count in the order of their sequence; what is not newer is not heard. A new session of a worker
ends the one before, whose later messages are answered with an order to stop, and nothing else; unless its successor
has been silent for as long as a lease lasts (then that was an old message, read late, and the worker would be lost).

A slot (``schemas/slots.py``) has one session for ever, its gateway's. What it says of its polls comes from that gateway
and is in order; that it runs something is a ping of its pod, which any gateway may have heard, by whatever clock. So a
ping is in no order with the rest: it counts for the job that the slot has, and for nothing else.
"""

from dataclasses import replace

from schemas.dispatch import AssignmentDeclined, DrainWorker, WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.lifecycle import State
from schemas.slots import slot_of
from streams.core.draft import DRAIN_AGAIN_MS, Draft
from streams.core.leases import ABSENT_MS, SILENT_MS, Sign, grant, observe
from streams.core.pool_state import Entry, Phase, Worker

SESSIONS_REMEMBERED = 8


def on_beat(draft: Draft, beat: WorkerBeat) -> None:
    """Take over the worker's state, end a former session, and compare what it runs with the document."""
    known = draft.workers.get(beat.worker_id)
    if beat.state is WorkerState.BUSY and slot_of(beat.worker_id) is not None:
        _on_ping(draft, beat, known)
        return
    if known is not None and _is_over(draft, known, beat):
        _answer_past(draft, beat)
        return
    if known is not None and beat.session == known.session and beat.sequence <= known.sequence:
        return
    same = known if known is not None and known.session == beat.session else None
    asking = beat.state is WorkerState.READY and (same is None or same.drain is None)
    worker = Worker(
        worker_id=beat.worker_id,
        session=beat.session,
        sequence=beat.sequence,
        kind=beat.kind,
        state=beat.state,
        heard=draft.ear,
        tick=draft.ticks,
        asking=asking,
        asking_since=same.asking_since if same and same.asking else draft.now,
        ignored=same.ignored if same and beat.job_id is None else 0,
        job_id=beat.job_id,
        attempt=beat.attempt,
        poll_id=beat.poll_id,
        drain=same.drain if same else None,
        drained_at=same.drained_at if same else 0,
        stopped=same.stopped if same else None,
        looked_at=same.looked_at if same else 0,
        past=_past(known, beat.session),
    )
    draft.put_worker(worker)
    if asking and (known is None or known.state is WorkerState.DEFUNCT):
        _pod_moved(draft, worker)
    if known is not None and same is None:
        _end_session(draft, worker.worker_id, known.session, Sign.RESTARTED, but=worker)
    judge(draft, worker)
    _remind_to_drain(draft, draft.workers[beat.worker_id])


def _on_ping(draft: Draft, ping: WorkerBeat, known: Worker | None) -> None:
    """A slot's pod still runs a job. One that the slot does not have is none of its state (it may be an old ping, read
    after the slot's next poll), but who runs it may have to be told to stop."""
    entry = draft.jobs.get(ping.job_id or "")
    has = entry is not None and ping.worker_id in (entry.lease.worker_id if entry.lease else None, entry.worker_id)
    pod = Worker(
        worker_id=ping.worker_id,
        session=ping.session,
        sequence=known.sequence if known else -1,
        kind=ping.kind,
        state=ping.state,
        heard=draft.ear,
        tick=draft.ticks,
        job_id=ping.job_id,
        attempt=ping.attempt,
        poll_id=known.poll_id if known else None,
        stopped=known.stopped if known else None,
        looked_at=known.looked_at if known else 0,
    )
    lease = entry.lease if entry else None
    asks_anew = known is not None and known.asking and lease is not None and lease.poll_id != known.poll_id
    if has and entry is not None and ping.attempt in (None, entry.attempt) and not asks_anew:
        draft.put_worker(pod)
    judge(draft, pod)


def _pod_moved(draft: Draft, worker: Worker) -> None:
    """A pod polls through one gateway at a time: where it begins to ask through another, its former polls are gone,
    whether or not their gateway still lives to say so."""
    slot = slot_of(worker.worker_id)
    if slot is None:
        return
    pod = f"sdk:{slot.endpoint_id}:{slot.pod_id}:"
    for other in list(draft.workers.values()):
        if other.asking and other.session != worker.session and other.worker_id.startswith(pod):
            draft.put_worker(replace(other, asking=False))


def on_gone(draft: Draft, gone: WorkerGone) -> None:
    """A clean end of a session. What it still holds is over; its late messages are not heard any more.

    A slot may come back in the same session, with its next poll: only what it said before is not heard again.
    """
    known = draft.workers.get(gone.worker_id)
    if known is not None and known.session != gone.session:
        return  # another session took over already
    is_slot = slot_of(gone.worker_id) is not None
    if is_slot and known is not None and gone.sequence <= known.sequence:
        return
    kind = WorkerKind.SDK if is_slot else known.kind if known else WorkerKind.NATIVE
    past = _past(known, None) if known else ((gone.session, gone.sequence),)
    draft.put_worker(
        Worker(
            worker_id=gone.worker_id,
            session=gone.session,
            sequence=gone.sequence,
            kind=kind,
            state=WorkerState.DEFUNCT,
            heard=draft.ear,
            tick=draft.ticks,
            past=() if is_slot else past,
        )
    )
    _end_session(draft, gone.worker_id, gone.session, Sign.LEFT, but=None)


def on_declined(draft: Draft, declined: AssignmentDeclined) -> None:
    """The job is in the queue again at no cost; the worker is asked again when it next says that it is ready, which a
    slot may have done already, with its next poll.

    Only the offer that it answers is taken back, not a later one of the same attempt.
    """
    known = draft.workers.get(declined.worker_id)
    entry = draft.jobs.get(declined.job_id)
    lease = entry.lease if entry else None
    if known is not None and known.session == declined.session and declined.sequence > known.sequence:
        asks_anew = known.asking and lease is not None and lease.poll_id != known.poll_id
        draft.put_worker(
            replace(known, sequence=declined.sequence, asking=asks_anew, heard=draft.ear, tick=draft.ticks),
        )
    if entry is None or lease is None or lease.attempt != declined.attempt:
        return
    held = (lease.worker_id, lease.session) == (declined.worker_id, declined.session)
    if held and declined.sequence > lease.sequence:
        observe(draft, entry, Sign.DECLINED)


def on_drain(draft: Draft, drain: DrainWorker) -> None:
    """Mark the worker's session and order it to drain; the order is repeated while its beats do not show it."""
    known = draft.workers.get(drain.worker_id)
    if known is not None and known.session not in dict(known.past):
        at_once = drain.now or bool(known.drain)
        draft.drain(replace(known, drain=at_once, asking=False))


def judge(draft: Draft, worker: Worker) -> None:
    """Compare what a worker says it runs with the document: renew its lease, stop it, or ask for the document.

    A beat that names no attempt (pings of SDK workers know only jobs) means the one that it was given.
    """
    job_id, attempt = worker.job_id, worker.attempt
    if job_id is None:
        return
    entry = draft.jobs.get(job_id)
    if attempt is None:
        if entry is not None and entry.lease is not None and entry.lease.worker_id == worker.worker_id:
            _renew(draft, entry, worker)
    elif entry is None:
        ended = draft.ended.get(job_id)
        if ended is None:
            draft.look_for(worker, job_id)
        elif ended.reported_by != worker.worker_id or draft.now - ended.at >= ABSENT_MS[worker.kind]:
            draft.stop(worker.worker_id, worker.session, job_id, attempt, "the job has ended")
    elif attempt > entry.attempt:
        draft.look_for(worker, job_id)
    elif attempt < entry.attempt:
        draft.stop(worker.worker_id, worker.session, job_id, attempt, "a newer attempt took its place")
    elif entry.state is State.PROCESSING and entry.worker_id not in (None, worker.worker_id):
        draft.stop(worker.worker_id, worker.session, job_id, attempt, "another worker runs this attempt")
    else:
        _renew(draft, entry, worker)


def _renew(draft: Draft, entry: Entry, worker: Worker) -> None:
    """A beat names the current attempt. Two workers may, until the document says whose it is: the lease stays put."""
    if entry.started_at is None:
        entry = replace(entry, started_at=draft.now)
    if entry.lease is None:
        grant(draft, entry, worker, Phase.RUNNING)
    elif entry.lease.worker_id == worker.worker_id:
        lease = replace(
            entry.lease,
            session=worker.session,
            kind=worker.kind,
            renewed=worker.heard,
            tick=worker.tick,
        )
        observe(draft, replace(entry, lease=lease), Sign.NAMED)


def _end_session(draft: Draft, worker_id: str, session: str, sign: Sign, but: Worker | None) -> None:
    """What a session that is over still held, unless ``but`` (its successor) names it."""
    for entry in list(draft.jobs.values()):
        lease = entry.lease
        if lease is None or lease.worker_id != worker_id or lease.session not in (None, session):
            continue
        if but is None or but.job_id != entry.job_id or but.attempt not in (None, lease.attempt):
            observe(draft, entry, sign)


def _past(known: Worker | None, session: str | None) -> tuple[tuple[str, int], ...]:
    """Sessions that are over once ``session`` speaks (None: once none does)."""
    if known is None:
        return ()
    over = dict(known.past)
    over.setdefault(known.session, known.sequence)
    return tuple((name, newest) for name, newest in over.items() if name != session)[-SESSIONS_REMEMBERED:]


def _is_over(draft: Draft, known: Worker, beat: WorkerBeat) -> bool:
    newest = dict(known.past).get(beat.session)
    if newest is None:
        return False
    return beat.sequence <= newest or draft.ear - known.heard < SILENT_MS[known.kind]


def _answer_past(draft: Draft, beat: WorkerBeat) -> None:
    """A former session still runs something: nothing that it makes will be used."""
    if beat.job_id is not None and beat.attempt is not None:
        draft.stop(beat.worker_id, beat.session, beat.job_id, beat.attempt, "another session of this worker took over")


def _remind_to_drain(draft: Draft, worker: Worker) -> None:
    shown = worker.state in (WorkerState.DRAINING, WorkerState.DEFUNCT)
    if worker.drain is not None and not shown and draft.now - worker.drained_at >= DRAIN_AGAIN_MS:
        draft.drain(worker)
