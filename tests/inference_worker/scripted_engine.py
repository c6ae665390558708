"""An engine without a model, for tests of the process around it: the prompt's first word says what it does."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator

import numpy as np

from inference_worker.engines.protocol import EngineFailure, Report, Step, Stop, Stopped
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest, whole_frames

Video = Generator[np.ndarray, None, None]


def film(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Frames of one colour, in chunks of six, after as many steps as asked for."""
    colour = np.random.default_rng(request.seed).integers(0, 255, 3, np.uint8)
    for step in range(request.steps + 1):
        if stop():
            raise Stopped
        report(Step(Phase.DENOISE, step, request.steps, lambda: np.full((8, 12, 3), colour, np.uint8)))
    frames = whole_frames(request.num_frames)
    for begin in range(0, frames, 6):
        yield np.full((min(6, frames - begin), request.height, request.width, 3), colour, np.uint8)
        report(Step(Phase.DECODE, min(begin + 6, frames), frames))


def endless(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Steps for ever, until stopped."""
    step = 0
    while not stop():
        report(Step(Phase.DENOISE, step, request.steps))
        step += 1
    raise Stopped
    yield


def stuck(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """One step, then nothing ever again: it does not even look at ``stop``."""
    report(Step(Phase.DENOISE, 0, request.steps))
    threading.Event().wait()
    yield


def boom(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Fails as a library does: with the prompt in the error."""
    raise ValueError(f"cannot do {request.prompt}")
    yield


def memory(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    raise EngineFailure(FailureCode.OUT_OF_MEMORY, "Memory ran out while testing.")
    yield


def fatal(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    raise EngineFailure(FailureCode.WORKER_CRASHED, "The GPU is gone.", fatal=True)
    yield


def die(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield


def garbage(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Writes over the channel what is no frame."""
    os.write(int(sys.argv[sys.argv.index("--fd") + 1]), b"Segmentation fault, or what else one prints\n")
    threading.Event().wait()
    yield


def noisy(request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Prints, as libraries do."""
    print("printed by a library", flush=True)  # noqa: T201
    os.write(1, b"written by a C library\n")
    yield from film(request, report, stop)


ACTS: dict[str, Callable[[GenerationRequest, Report, Stop], Video]] = {
    act.__name__: act for act in (film, endless, stuck, boom, memory, fatal, die, garbage, noisy)
}


class Scripted:
    name = "scripted"
    device = "nothing"

    def load(self, report: Report) -> None:
        report(Step(Phase.LOAD, 1, 1))

    def generate(self, request: GenerationRequest, report: Report, stop: Stop) -> Video:
        return ACTS[request.prompt.split()[0]](request, report, stop)


class Broken(Scripted):
    def load(self, report: Report) -> None:
        raise RuntimeError("no such weights")
