"""One decision of the worker: ``step(worker, input, now) → (worker, effects)``.

Rules: one attempt at a time; each that was taken ends in exactly one report, or in none where the ledger has decided
already; READY is said only with a loaded child and every report acknowledged. ``now`` is milliseconds of a clock that
never goes back. The shell performs the effects in order; it sends a ``Tick`` a few times a second.
"""

from dataclasses import replace

from inference_worker.core import child_life, on_child, on_orders, on_time
from inference_worker.core.attempt import Stage
from inference_worker.core.child_life import ChildPhase
from inference_worker.core.effects import Clean, Effect, Exit
from inference_worker.core.inputs import (
    Acked,
    ChildGone,
    Heard,
    Input,
    Leave,
    NotStored,
    Resume,
    StoreAway,
    Stored,
    StoredSome,
    Tick,
)
from inference_worker.core.turn import Turn
from inference_worker.core.worker import Fact, Worker
from schemas.dispatch import DrainSession, RunAttempt, StopAttempt, WorkerState


def step(worker: Worker, given: Input, now: int) -> tuple[Worker, tuple[Effect, ...]]:
    """What becomes of the worker, and what to do about it. After ``Exit`` nothing happens any more."""
    if worker.exited:
        return worker, ()
    turn = Turn(worker, now)
    _meet(turn, given)
    _settle(turn)
    _depart(turn)
    _beat(turn, worker)
    return turn.worker, tuple(turn.effects)


def _meet(turn: Turn, given: Input) -> None:
    match given:
        case Heard() if given.child == turn.worker.child.number:
            turn.change(child=child_life.heard(turn.worker.child, given.message, turn.now))
            on_child.meet(turn, given.message)
        case ChildGone() if given.child == turn.worker.child.number:
            on_child.meet_end(turn, given.words)
        case RunAttempt() | StopAttempt() | DrainSession():
            identity = turn.worker.identity
            if (given.worker_id, given.session) == (identity.worker_id, identity.session):
                on_orders.meet(turn, given)
        case StoredSome() | StoreAway() | Stored() | NotStored():
            on_child.meet_storage(turn, given)
        case Acked():
            _meet_ack(turn, given.command_id)
        case Tick():
            on_time.meet(turn)
        case Resume() | Leave():
            on_orders.meet_own(turn, given)
        case Heard() | ChildGone():
            pass  # the last words of a child that has been replaced


def _meet_ack(turn: Turn, command_id: str) -> None:
    if turn.attempt and command_id in turn.attempt.unacked:
        turn.change_attempt(unacked=tuple(one for one in turn.attempt.unacked if one != command_id))


def _settle(turn: Turn) -> None:
    """Let go of an attempt that is over; with it, say what this worker is now."""
    worker, attempt = turn.worker, turn.attempt
    if attempt is None or attempt.stage is not Stage.ENDING or attempt.unacked:
        return
    if worker.state is WorkerState.DRAINING:
        fact = Fact.OVER
    elif worker.child.phase is ChildPhase.UP:
        if worker.child.doubted:
            return
        fact = Fact.OVER
    else:
        fact = Fact.OVER_WORN_OUT if worker.child.worn_out(worker.limits) else Fact.OVER_CHILDLESS
    turn.emit(Clean(*attempt.key))
    turn.change(attempt=None, ended=(*worker.ended, attempt.key)[-worker.limits.remembered :])
    turn.move(fact)


def _depart(turn: Turn) -> None:
    """A draining worker without an attempt ends; one that was told to end now does so at its time, come what may."""
    if turn.worker.exited or turn.worker.state is not WorkerState.DRAINING:
        return
    departure = turn.worker.departure
    late = departure is not None and turn.now >= departure.leave_by
    if turn.attempt is None or late:
        turn.say_gone()
        turn.emit(Exit(0))
        turn.worker = replace(turn.worker, exited=True)


def _beat(turn: Turn, before: Worker) -> None:
    """Say how it stands: at once when that changed, and every few seconds."""
    worker = turn.worker
    if worker.exited:
        return
    changed = worker.state is not before.state or _key(worker) != _key(before)
    due = worker.beat_at is None or turn.now - worker.beat_at >= worker.limits.beat_ms
    if changed or due or turn.beat_wanted:
        turn.beat()


def _key(worker: Worker) -> tuple[str, int] | None:
    return worker.attempt.key if worker.attempt else None
