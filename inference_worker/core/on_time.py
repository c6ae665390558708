"""What time brings: a child to start or to kill, an attempt that took too long, the end of a worker told to leave."""

from inference_worker.core import child_life, on_child, on_orders
from inference_worker.core.attempt import Attempt, Happening, Stage
from inference_worker.core.child_life import ChildPhase
from inference_worker.core.effects import StartChild
from inference_worker.core.turn import Turn
from schemas.dispatch import WorkerState
from schemas.failures import FAILURES, FailureCode


def meet(turn: Turn) -> None:
    """A tick. One after this process itself stood still decides nothing: the answers may lie unread."""
    blind = turn.now - turn.worker.ticked_at >= turn.worker.limits.blind_ms
    turn.change(ticked_at=turn.now)
    if blind:
        turn.change(child=child_life.excused_silence(turn.worker.child, turn.now))
        return
    _start_child(turn)
    attempt = turn.attempt
    working = attempt is not None and attempt.with_child
    words = child_life.overdue(turn.worker.child, working, turn.now, turn.worker.limits)
    if words:
        on_child.lose_child(turn, words)
    elif attempt:
        _hurry(turn, attempt)


def _start_child(turn: Turn) -> None:
    worker = turn.worker
    # One that was taken up again waits for its child, which a draining worker starts for nothing else.
    waits = worker.attempt is not None and worker.attempt.stage is Stage.GENERATING
    wanted = worker.state is not WorkerState.DRAINING or waits
    if wanted and worker.child.phase is ChildPhase.ABSENT and turn.now >= worker.child.start_at:
        child = child_life.started(worker.child, turn.now)
        turn.change(child=child)
        turn.emit(StartChild(child.number))


def _hurry(turn: Turn, attempt: Attempt) -> None:
    """End what has gone on for too long."""
    limits, departure = turn.worker.limits, turn.worker.departure
    match attempt.stage:
        case Stage.GENERATING:
            if turn.now >= attempt.began_at + attempt.order.execution_timeout_ms + limits.overtime_ms:
                code = FailureCode.EXECUTION_TIMEOUT
                turn.happens(Happening.OVERTIME)
                turn.change_attempt(verdict=turn.reports().failed(code, FAILURES[code].text))
                on_orders.tell_child_to_stop(turn)
        case Stage.STOPPING:
            if turn.now >= attempt.stop_by:
                words = "The model's process did not stop when it was told to."
                on_child.lose_child(turn, words, excused=True, happening=Happening.IMPATIENCE)
        case Stage.UPLOADING:
            if departure and turn.now >= departure.upload_by:
                on_orders.give_up_upload(turn)
            elif attempt.waits_for and turn.now - (attempt.track.shown_at or 0) >= limits.waiting_ms:
                on_child.show_upload(turn)
        case Stage.ENDING:
            pass
