"""An engine that keeps time and stops where a test wants it: the picture is cheap, everything around it is real.

The prompt's first word is the act, its second the name of a mark, a file in the folder ``OPENV_TEST_STAGE``. A worker
that runs this engine has its real parent, child, pipe, encoder and files.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from inference_worker.engines.protocol import Report, Step, Stop, Stopped
from schemas.phases import Phase
from schemas.requests import GenerationRequest
from tests.inference_worker.scripted_engine import Video, film, stuck

STAGE = "OPENV_TEST_STAGE"
STEP_S = 0.025
LOOK_S = 0.05


def mark(folder: Path, request: GenerationRequest) -> Path:
    return folder / request.prompt.split()[1]


def paced(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """A film whose steps take their time, so that a process can be killed in the middle of one."""

    def slowly(step: Step) -> None:
        if step.phase is Phase.DENOISE:
            threading.Event().wait(STEP_S)
        report(step)

    return film(request, slowly, stop)


def held(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Steps until the mark is there, then a film."""
    curtain = mark(Path(os.environ[STAGE]), request)
    while not curtain.exists():
        if stop():
            raise Stopped
        report(Step(Phase.ENCODE_PROMPT, 0, 1))
        threading.Event().wait(LOOK_S)
    yield from film(request, report, stop)


def stuck_once(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Whoever tries first is stuck for ever, deaf to ``stop``; everybody after that makes a film."""
    try:
        mark(Path(os.environ[STAGE]), request).touch(exist_ok=False)
    except FileExistsError:
        return film(request, report, stop)
    return stuck(request, report, stop)


ACTS: dict[str, Callable[[GenerationRequest, Report, Stop], Video]] = {
    act.__name__: act for act in (film, paced, held, stuck_once)
}


class Staged:
    name = "staged"
    device = "nothing"

    def load(self, report: Report) -> None:
        report(Step(Phase.LOAD, 1, 1))

    def generate(self, request: GenerationRequest, report: Report, stop: Stop) -> Video:
        return ACTS[request.prompt.split()[0]](request, report, stop)
