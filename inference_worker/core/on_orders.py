"""What the scheduler and the operating system order: run, stop, drain, leave."""

from dataclasses import replace

from inference_worker.core import on_child
from inference_worker.core.attempt import Attempt, Happening, Stage
from inference_worker.core.effects import DropUpload, Exit, Generate, StopChild
from inference_worker.core.inputs import Leave, Order, Resume
from inference_worker.core.progress import Track
from inference_worker.core.turn import Turn
from inference_worker.core.worker import Departure, Fact
from schemas.dispatch import DrainSession, RunAttempt, StopAttempt, WorkerState

EXIT_AT_ONCE = 1
HANDED_BACK = "The worker was told to stop."

NOT_NOW = {
    WorkerState.STARTING: "the model is still loading",
    WorkerState.BUSY: "busy with another attempt",
    WorkerState.DRAINING: "draining",
    WorkerState.DEFUNCT: "the model does not run here",
}


def meet(turn: Turn, order: Order) -> None:
    """An order to this session."""
    match order:
        case RunAttempt():
            _run(turn, order)
        case StopAttempt():
            _stop(turn, order)
        case DrainSession():
            _drain(turn)
            if order.now:
                _leave(turn, signalled=False)


def meet_own(turn: Turn, given: Resume | Leave) -> None:
    """What this process's begin and end bring."""
    if isinstance(given, Leave):
        _meet_leave(turn)
    else:
        _resume(turn, given)


def _meet_leave(turn: Turn) -> None:
    """A signal to end: hand back what runs; the second one ends the process as it is."""
    departure = turn.worker.departure
    if departure and departure.signalled:
        turn.emit(Exit(EXIT_AT_ONCE))
        turn.worker = replace(turn.worker, exited=True)
        return
    _drain(turn)
    _leave(turn, signalled=True)


def _run(turn: Turn, order: RunAttempt) -> None:
    """Take it if there is nothing in hand. An order that is repeated is answered with how things stand."""
    worker = turn.worker
    if turn.current(order.job_id, order.attempt):
        turn.beat_wanted = True
    elif (order.job_id, order.attempt) in worker.ended:
        turn.decline(order, "it has already ended here")
    elif worker.state is not WorkerState.READY:
        turn.decline(order, NOT_NOW[worker.state])
    else:
        attempt = Attempt(order=order, stage=Stage.GENERATING, began_at=turn.now, track=Track(began_at=turn.now))
        turn.change(attempt=attempt, child=replace(worker.child, moved_at=turn.now))
        turn.move(Fact.TAKEN)
        turn.report(turn.reports().started())
        turn.emit(Generate(worker.child.number, order))


def _resume(turn: Turn, resume: Resume) -> None:
    """Busy from the first beat on, so that the lease goes on; the child is told as soon as there is one."""
    if turn.worker.state is not WorkerState.STARTING or turn.attempt:
        return
    began_at = turn.now - resume.age_ms
    attempt = Attempt(order=resume.order, stage=Stage.GENERATING, began_at=began_at, track=Track(began_at=began_at))
    turn.change(attempt=attempt)
    turn.move(Fact.RESUMED)
    turn.report(turn.reports().started())


def _stop(turn: Turn, order: StopAttempt) -> None:
    """The ledger has decided: nothing is reported. Where there is nothing to stop, a beat says so."""
    attempt = turn.current(order.job_id, order.attempt)
    if attempt is None:
        turn.beat_wanted = True
        return
    stage = turn.happens(Happening.STOP)
    if stage is not None:
        turn.change_attempt(verdict=None)
    if attempt.stage is Stage.GENERATING:
        tell_child_to_stop(turn)
    elif attempt.stage is Stage.UPLOADING:
        turn.emit(DropUpload(attempt.order))


def tell_child_to_stop(turn: Turn) -> None:
    """Ask the child; it answers at its next step, or is killed after a grace."""
    turn.change_attempt(stop_by=turn.now + turn.worker.limits.stop_grace_ms)
    turn.emit(StopChild(turn.worker.child.number, *turn.running.key))


def _drain(turn: Turn) -> None:
    if turn.worker.state is not WorkerState.DRAINING:
        turn.move(Fact.DRAIN)


def _leave(turn: Turn, *, signalled: bool) -> None:
    """End soon: the child is not waited for, an upload is, for a moment."""
    limits, before = turn.worker.limits, turn.worker.departure
    if before:
        turn.change(departure=replace(before, signalled=before.signalled or signalled))
        return
    departure = Departure(turn.now + limits.leave_upload_ms, turn.now + limits.leave_ms, signalled)
    turn.change(departure=departure)
    if turn.attempt and turn.attempt.with_child:
        if turn.attempt.stage is Stage.GENERATING:
            turn.change_attempt(verdict=turn.reports().handed_back(HANDED_BACK))
        on_child.lose_child(turn, HANDED_BACK, excused=True, happening=Happening.LEAVE)


def give_up_upload(turn: Turn) -> None:
    """The upload did not end in the moment that it was given: hand the job back."""
    order = turn.running.order
    if turn.happens(Happening.LEAVE):
        turn.emit(DropUpload(order))
        turn.report(turn.reports().handed_back(HANDED_BACK))
