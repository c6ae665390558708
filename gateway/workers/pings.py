"""Pings, every ten seconds, with the ids of the jobs that a worker has: signs of life of its slots.

A ping may come to any gateway. What it says of a job becomes a beat of the slot that the job was given to, with its
attempt; the scheduler stops what should not run. What is known to be over is put on the worker's stop list besides.
"""

from gateway.core.handouts import HandOut
from gateway.workers.fencing import Fencing, Pod
from gateway.workers.room import Room
from gateway.workers.words import ENGINE
from schemas.dispatch import WorkerBeat, WorkerKind, WorkerState
from schemas.ids import is_name
from schemas.slots import slot_of

JOBS_MAX = 1_000  # of one ping
HEARD_MS = 3_000  # a job is heard of so often at most: the SDK pings every 10 s, and nobody's words wait for a flood
LOOKS_MAX = 32  # into the store, of one ping; the others have their turn with the next


async def ping(room: Room, fencing: Fencing, pod: Pod, pool: str, job_ids: str) -> None:
    """Ids with commas between; those that are not this worker's jobs are passed over. Raises ``Unavailable``."""
    unknown: list[str] = []
    for job_id in dict.fromkeys(job_ids.split(",")[:JOBS_MAX]):
        if not is_name(job_id):
            continue
        handed = fencing.known(pod, job_id)
        if handed is not None:
            _heard(room, pod, pool, handed)
        elif len(unknown) < LOOKS_MAX and fencing.may_ask(pod, job_id):
            unknown.append(job_id)
    for job_id in unknown:
        handed = await fencing.find(pod, job_id, 0.0)
        if handed is not None:
            _heard(room, pod, pool, handed)


def _heard(room: Room, pod: Pod, pool: str, handed: HandOut) -> None:
    slot = slot_of(handed.worker_id)
    if handed.answered or slot is None:
        return
    if handed.over:
        room.stop(pod, handed.job_id)
        return
    now = room.now()
    if 0 <= now - handed.heard_at < HEARD_MS:
        return
    handed.heard_at = now
    room.outbox.say(
        WorkerBeat(
            pool=pool,
            worker_id=handed.worker_id,
            session=slot.gateway,
            sequence=room.pods.sequence(slot),
            state=WorkerState.BUSY,
            kind=WorkerKind.SDK,
            job_id=handed.job_id,
            attempt=handed.attempt,
            engine=ENGINE,
        )
    )
