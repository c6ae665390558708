"""Every state of a worker meets every event, in every phase of its lease: nothing raises, nobody is handed two jobs."""

from itertools import product

import pytest

from schemas.dispatch import AssignmentDeclined, DrainWorker, Tick, WorkerBeat, WorkerGone, WorkerState
from schemas.lifecycle import State
from streams.core.pool_state import Loaded, Phase, PoolState, Seen
from streams.core.scheduler import PoolEvent, step
from tests.streams.core.pool_steps import POOL, T0, Pool, after, job_of, moved, offers

JOB = job_of("a")
LEASES = ("none", "offered", "running", "over")


def _beat(state: WorkerState, session: str, sequence: int, *, names: bool) -> WorkerBeat:
    job_id, attempt = ("a", 1) if names else (None, None)
    return WorkerBeat(
        pool=POOL,
        worker_id="w1",
        session=session,
        sequence=sequence,
        state=state,
        job_id=job_id,
        attempt=attempt,
    )


EVENTS: dict[str, PoolEvent] = {
    f"{'old' if sequence == 0 else 'new'} beat of {session} {state}{' naming' if names else ''}": _beat(
        state, session, sequence, names=names
    )
    for state, session, sequence, names in product(WorkerState, ("s1", "s2"), (0, 99), (True, False))
}
EVENTS |= {
    f"{session} gone": WorkerGone(pool=POOL, worker_id="w1", session=session, sequence=99) for session in ("s1", "s2")
}
EVENTS |= {
    f"{session} declines {attempt} at {sequence}": AssignmentDeclined(
        pool=POOL, worker_id="w1", session=session, sequence=sequence, job_id="a", attempt=attempt
    )
    for session, attempt, sequence in product(("s1", "s2"), (1, 2), (0, 99))
}
EVENTS |= {f"drain now={now}": DrainWorker(command_id="c", pool=POOL, worker_id="w1", now=now) for now in (True, False)}
EVENTS |= {"tick": Tick(tick_id="t"), "loaded": Loaded((JOB,)), "loaded nothing": Loaded(())}
EVENTS |= {"seen nothing": Seen("a", None), "seen": Seen("a", JOB), "old news": moved(JOB)}
EVENTS |= {f"moved to {state}": moved(after(JOB, state=state, worker_id="w1")) for state in State}
EVENTS |= {"next attempt": moved(after(JOB, attempt=2)), "next run": moved(after(JOB, attempt=2, run=2))}
EVENTS |= {"elsewhere": moved(after(JOB, state=State.PROCESSING, worker_id="w2"))}


def _prepared(state: WorkerState, lease: str) -> PoolState:
    pool = Pool()
    pool.tick()
    pool.load(JOB)
    if lease != "none":
        pool.beat()
    if lease in ("running", "over"):
        pool.busy("w1", "a")
    if lease == "over":
        pool.ticks(21)
    names = lease == "running" and state is not WorkerState.READY
    pool.beat(state=state, job_id="a" if names else None)
    return pool.state


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("state", WorkerState)
def test_every_state_of_a_worker_meets_every_event(state: WorkerState, lease: str) -> None:
    prepared = _prepared(state, lease)
    for name, event in EVENTS.items():
        after_it, effects = step(prepared, event, T0 + 60_000)
        again, effects_again = step(after_it, event, T0 + 60_000)
        assert len(offers(effects)) <= 1, name
        if offers(effects):
            worker = after_it.workers["w1"]
            assert worker.asking, name
            assert worker.state is WorkerState.READY, name
        assert offers(effects_again) == [], name  # what is read twice hands nothing out twice
        held = [entry for entry in again.jobs.values() if entry.lease and entry.lease.phase is Phase.OFFERED]
        assert len(held) <= 1, name


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("state", WorkerState)
def test_beats_that_are_not_newer_change_nothing(state: WorkerState, lease: str) -> None:
    prepared = _prepared(state, lease)
    newest = prepared.workers["w1"].sequence
    for other, sequence in product(WorkerState, range(newest + 1)):
        changed, effects = step(prepared, _beat(other, "s1", sequence, names=True), prepared.now)
        assert (changed, effects) == (prepared, ())
