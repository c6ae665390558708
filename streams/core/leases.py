"""One attempt on one worker: when the lease is renewed, when it is over, and what the ledger is told then.

``AFTER`` is the whole machine. What is not in a row changes nothing. A lease that is over (LOST, HANDED_BACK) stays
until the document moves, and the word to the ledger is repeated until then: commands may be lost, and repeating one is
harmless because (job, attempt, worker) fences it. A worker that names the attempt again meanwhile has its lease back;
the document decides. How an observation is made (how long is silent, how long is absent) is in ``observed``.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from schemas.dispatch import WEBHOOK_WORKER, WorkerKind
from schemas.instants import Instant
from streams.core.draft import Draft
from streams.core.effects import Tell
from streams.core.pool_state import LIVE, Entry, Lease, Phase, Worker

SILENT_MS: Mapping[WorkerKind, int] = MappingProxyType({WorkerKind.NATIVE: 20_000, WorkerKind.SDK: 45_000})
ABSENT_MS: Mapping[WorkerKind, int] = MappingProxyType({WorkerKind.NATIVE: 10_000, WorkerKind.SDK: 30_000})
TELL_AGAIN_MS = 10_000


class Sign(StrEnum):
    """What was observed of a lease."""

    NAMED = "named"  # a beat of the worker names this attempt
    STARTED = "started"  # the document says that this worker started it
    TAKEN = "taken"  # the document says that a poll of this SDK worker was answered with it: no word of the worker yet
    DECLINED = "declined"  # the worker did not take it
    ABSENT = "absent"  # the worker lives but does not name it
    SILENT = "silent"  # no word of the worker for as long as a lease of its kind lasts
    RESTARTED = "restarted"  # a new session of the worker does not name it
    LEFT = "left"  # the worker's session ended cleanly


P, G = Phase, Sign

# None: the lease is dropped, and the job is in the queue again as if it had not been offered.
AFTER: Mapping[Phase, Mapping[Sign, Phase | None]] = MappingProxyType(
    {
        P.OFFERED: {
            G.NAMED: P.RUNNING,
            G.STARTED: P.RUNNING,
            G.TAKEN: P.OFFERED,  # the answer may have been lost on its way: only a beat that names it says otherwise
            G.DECLINED: None,
            G.ABSENT: P.HANDED_BACK,
            G.SILENT: P.LOST,
            G.RESTARTED: P.LOST,  # it may have died of this very job: that costs a try
            G.LEFT: P.HANDED_BACK,
        },
        P.RUNNING: {
            G.NAMED: P.RUNNING,
            G.STARTED: P.RUNNING,
            G.TAKEN: P.RUNNING,
            G.ABSENT: P.LOST,
            G.SILENT: P.LOST,
            G.RESTARTED: P.LOST,
            G.LEFT: P.LOST,  # a clean stop hands back by itself, which the ledger reads first
        },
        P.LOST: {G.NAMED: P.RUNNING},
        P.HANDED_BACK: {G.NAMED: P.RUNNING, G.STARTED: P.RUNNING},
    }
)

_REASONS: Mapping[Sign, str] = MappingProxyType(
    {
        G.ABSENT: "the worker does not run it",
        G.SILENT: "no sign of life of the worker",
        G.RESTARTED: "the worker was started anew",
        G.LEFT: "the worker left",
    }
)


def observed(lease: Lease, worker: Worker | None, ear: int) -> Sign | None:
    """What time alone says of a live lease; ``ear`` is listening time now.

    ABSENT counts only a beat that was sent after the worker could have read the offer: the second tick after it was
    appended when the offer was out. An SDK worker's silence about an offered job needs no beat: its poll may be gone.
    A worker whose kind is not known yet is given the longer time. An attempt that only webhook calls tell of has no
    heartbeats to wait for: its execution timeout bounds it.
    """
    if lease.worker_id == WEBHOOK_WORKER:
        return None
    kind = worker.kind if worker else lease.kind or WorkerKind.SDK
    waited = ear - lease.renewed
    if waited >= ABSENT_MS[kind]:
        if lease.phase is Phase.OFFERED and kind is WorkerKind.SDK:
            return Sign.ABSENT
        if worker is not None and lease.session in (None, worker.session) and worker.tick >= lease.tick + 2:
            return Sign.ABSENT  # had the newest beat named it, the lease would be as young as the beat
    return Sign.SILENT if waited >= SILENT_MS[kind] else None


def observe(draft: Draft, entry: Entry, sign: Sign) -> Entry:
    """Move the entry's lease by the table; tell the ledger at once where it is over. Returns the entry as it is now."""
    lease = entry.lease
    if lease is None or sign not in AFTER[lease.phase]:
        return entry
    phase = AFTER[lease.phase][sign]
    if lease.phase is Phase.OFFERED and phase in (None, Phase.HANDED_BACK):
        draft.charge(entry.user_id, -entry.work)
    if lease.phase is Phase.OFFERED and sign is Sign.ABSENT:
        _note_ignored(draft, lease.worker_id)
    lease = None if phase is None else replace(lease, phase=phase, reason=_REASONS.get(sign, ""))
    entry = replace(entry, lease=lease)
    draft.put(entry)
    if lease is not None and lease.phase not in LIVE:
        tell(draft, entry)
    return draft.jobs[entry.job_id]


def _note_ignored(draft: Draft, worker_id: str) -> None:
    """It asked, was given, and did nothing: whoever else asks comes first, or it would get the same job again."""
    worker = draft.workers.get(worker_id)
    if worker is not None:
        draft.put_worker(replace(worker, ignored=worker.ignored + 1))


def grant(draft: Draft, entry: Entry, worker: Worker | None, phase: Phase) -> Entry:
    """A new lease of the entry's attempt, in place of any other: for this worker, or for the one the document names.

    Used for an offer, for a beat that names an attempt no lease is known of (a rebuild), and for a document that says
    processing: its lease starts now.
    """
    draft.charge(entry.user_id, entry.work)
    lease = Lease(
        attempt=entry.attempt,
        worker_id=worker.worker_id if worker else entry.worker_id or "",
        session=worker.session if worker else None,
        kind=worker.kind if worker else None,
        phase=phase,
        renewed=draft.ear,
        sequence=worker.sequence if worker else -1,
        tick=draft.ticks,
        poll_id=worker.poll_id if worker else None,
    )
    entry = replace(entry, lease=lease)
    draft.put(entry)
    return entry


def owed(entry: Entry, now: Instant) -> str | None:
    """What the ledger must hear about this job now, if anything. What ends the job outranks what ends the attempt."""
    if now >= entry.expires_at:
        return "ttl_expired"
    if entry.started_at is not None and now >= entry.started_at + entry.execution_timeout_ms:
        return "execution_timeout"
    if entry.lease is not None and entry.lease.phase not in LIVE:
        return str(entry.lease.phase)
    return None


def tell(draft: Draft, entry: Entry) -> None:
    """Say what is owed, and the same again only after ``TELL_AGAIN_MS``."""
    kind = owed(entry, draft.now)
    if kind is None:
        return
    if entry.told is not None and entry.told[0] == kind and draft.now - entry.told[1] < TELL_AGAIN_MS:
        return
    lease = entry.lease
    draft.put(replace(entry, told=(kind, draft.now)))
    draft.effects.append(
        Tell(
            kind=kind,
            user_id=entry.user_id,
            job_id=entry.job_id,
            run=entry.run,
            attempt=entry.attempt,
            worker_id=lease.worker_id if lease else entry.worker_id or "",
            reason=lease.reason if lease else "",
        )
    )
    if kind == "execution_timeout" and lease is not None:
        draft.stop(lease.worker_id, lease.session, entry.job_id, entry.attempt, "execution timeout")


def watch(draft: Draft) -> None:
    """On a tick: every lease and every deadline of the pool."""
    for entry in list(draft.jobs.values()):
        lease = entry.lease
        sign = None
        if lease is not None and lease.phase in LIVE:
            sign = observed(lease, draft.workers.get(lease.worker_id), draft.ear)
        tell(draft, observe(draft, entry, sign) if sign else entry)
