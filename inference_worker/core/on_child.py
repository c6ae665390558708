"""What the child says, how it ends, and what became of the files it made."""

import base64
from dataclasses import replace

from inference_worker.core import child_life
from inference_worker.core.attempt import Happening, Stage
from inference_worker.core.child_life import ChildPhase
from inference_worker.core.effects import Generate, KillChild, Show, Upload, WorkerReport
from inference_worker.core.inputs import NotStored, StoreAway, Stored, StoredSome
from inference_worker.core.progress import previewed
from inference_worker.core.turn import Turn
from inference_worker.core.worker import Fact
from inference_worker.messages import AttemptStopped, Done, Failed, FromChild, Preview, Progress, Ready, Unloadable
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.progress import AttemptPreview

FILES = 3
OBJECT_STORE = "s3"


def meet(turn: Turn, message: FromChild) -> None:
    """A message of the child that runs now. ``Loading`` and ``Heartbeat`` only show that it lives."""
    match message:
        case Ready():
            _ready(turn, message)
        case Unloadable():
            turn.change(child=replace(turn.worker.child, unloadable=True))
            lose_child(turn, message.message)
        case Progress():
            attempt = turn.current(message.job_id, message.attempt)
            if attempt and attempt.stage is Stage.GENERATING:
                turn.show_progress(message.phase, message.step, message.steps, message.phase_ms)
        case Preview():
            _preview(turn, message)
        case Done():
            _made(turn, message)
        case Failed() | AttemptStopped():
            _refused(turn, message)


def _ready(turn: Turn, message: Ready) -> None:
    if turn.worker.child.phase is ChildPhase.LOADING:
        child = child_life.up(turn.worker.child, turn.now)
        turn.change(child=child, engine=message.engine, device=message.device)
        turn.move(Fact.LOADED)
        if turn.attempt and turn.attempt.stage is Stage.GENERATING:  # taken up again: no child has heard of it yet
            turn.emit(Generate(child.number, turn.attempt.order))


def _preview(turn: Turn, message: Preview) -> None:
    attempt = turn.current(message.job_id, message.attempt)
    if attempt is None or attempt.stage is not Stage.GENERATING:
        return
    track, shown = previewed(attempt.track, turn.now, turn.worker.limits)
    turn.change_attempt(track=track)
    if shown:
        picture = AttemptPreview(
            user_id=attempt.order.user_id,
            job_id=message.job_id,
            sequence=turn.next_number(),
            attempt=message.attempt,
            worker_id=turn.worker.identity.worker_id,
            step=message.step,
            steps=message.steps,
            jpeg=base64.b64encode(message.jpeg).decode(),
        )
        turn.emit(Show(picture))


def _made(turn: Turn, message: Done) -> None:
    attempt = turn.current(message.job_id, message.attempt)
    if attempt is None or (stage := turn.happens(Happening.MADE)) is None:
        return
    turn.change(child=replace(turn.worker.child, deaths=0))
    if stage is Stage.UPLOADING:
        turn.emit(Upload(attempt.order, message.media))
        turn.show_progress(Phase.UPLOAD, 0, FILES, 0)
    else:  # it was finished just as it was told to stop
        turn.report(attempt.verdict)


def _refused(turn: Turn, message: Failed | AttemptStopped) -> None:
    attempt = turn.current(message.job_id, message.attempt)
    if attempt is None or turn.happens(Happening.REFUSED) is None:
        return
    if isinstance(message, Failed):
        # A failure may have broken the child, which then ends right behind its message.
        turn.change(child=replace(turn.worker.child, doubted=True))
    if attempt.stage is Stage.STOPPING:
        turn.report(attempt.verdict)
    elif isinstance(message, Failed):
        turn.report(turn.reports().failed(message.code, message.message))
    else:
        words = "The model's process stopped without being told to."
        turn.report(turn.reports().failed(FailureCode.WORKER_CRASHED, words))


def meet_end(turn: Turn, words: str) -> None:
    """The child is gone: what it had in hand has failed, and another is started by and by."""
    if turn.worker.child.phase is ChildPhase.ABSENT:
        return
    turn.change(child=child_life.gone(turn.worker.child, turn.now, turn.worker.limits))
    _crash(turn, words)
    turn.move(Fact.WORN_OUT if turn.worker.child.worn_out(turn.worker.limits) else Fact.CHILD_LOST)


def lose_child(turn: Turn, words: str, *, excused: bool = False, happening: Happening = Happening.CRASHED) -> None:
    """Kill the child. What it had in hand has ended with that, even if the process takes its time to be gone."""
    child = replace(turn.worker.child, phase=ChildPhase.DYING, excused=excused)
    turn.change(child=child)
    turn.emit(KillChild(child.number, words))
    _crash(turn, words, happening)
    turn.move(Fact.WORN_OUT if child.worn_out(turn.worker.limits) else Fact.CHILD_LOST)


def _crash(turn: Turn, words: str, happening: Happening = Happening.CRASHED) -> None:
    attempt = turn.attempt
    if attempt is None or turn.happens(happening) is None:
        return
    verdict: WorkerReport | None = attempt.verdict
    if attempt.stage is Stage.GENERATING and happening is Happening.CRASHED:
        verdict = turn.reports().failed(FailureCode.WORKER_CRASHED, words)
    turn.report(verdict)


def meet_storage(turn: Turn, given: StoredSome | StoreAway | Stored | NotStored) -> None:
    """How the upload goes. News of one that was dropped is ignored."""
    attempt = turn.current(given.job_id, given.attempt)
    if attempt is None or attempt.stage is not Stage.UPLOADING:
        return
    match given:
        case StoredSome():
            turn.change_attempt(waits_for=None)
            turn.show_progress(Phase.UPLOAD, given.step, given.steps, 0, urgent=attempt.waits_for is not None)
        case StoreAway():
            turn.change_attempt(waits_for=OBJECT_STORE)
            show_upload(turn)
        case Stored():
            turn.happens(Happening.STORED)
            turn.report(turn.reports().succeeded(given.output))
        case NotStored():
            turn.happens(Happening.NOT_STORED)
            turn.report(turn.reports().failed(given.code, given.words))


def show_upload(turn: Turn) -> None:
    """Say again how far the upload is, though nothing has moved: that it waits is the news."""
    turn.show_progress(Phase.UPLOAD, turn.running.track.step, FILES, 0, urgent=True)
