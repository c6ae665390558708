"""What every engine is to the worker: load once, then make videos one after the other, watched and stoppable.

Torch-free: the parent process imports this too. An engine is driven by one thread; only ``stop`` is answered from
another (it reads a flag).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frames = NDArray[np.uint8]  # [t, H, W, 3], RGB
    Picture = NDArray[np.uint8]  # [H, W, 3], RGB


@dataclass(frozen=True, slots=True)
class Step:
    """``step`` of ``steps`` of a phase is done (0: the phase begins).

    ``preview`` renders the video's middle as it looks by now; it may only be called before ``report`` returns.
    """

    phase: Phase
    step: int
    steps: int
    preview: Callable[[], Picture] | None = None


Report = Callable[[Step], None]
Stop = Callable[[], bool]


class Stopped(Exception):
    """Raised inside an engine at the first step boundary after ``stop()`` became true."""


class EngineFailure(Exception):
    """An attempt (or loading) that failed for a known reason. ``message`` is for people and never holds a prompt.

    ``fatal``: the process cannot go on (a broken CUDA context, say) and must be replaced.
    """

    def __init__(self, code: FailureCode, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fatal = fatal


Video: TypeAlias = "Generator[Frames, None, None]"


class Engine(Protocol):
    """One way to make a video. State of one job never reaches the next, however the first one ended."""

    @property
    def name(self) -> str:
        """The name operators choose it by."""
        ...

    @property
    def device(self) -> str:
        """What it runs on, in words for an operator. Known after ``load``."""
        ...

    def load(self, report: Report) -> None:
        """Bring the model into memory. Raises ``EngineFailure`` (``MODEL_UNAVAILABLE``) saying what to do."""
        ...

    def generate(self, request: GenerationRequest, report: Report, stop: Stop) -> Video:
        """Yield the video's frames in order, in chunks, as they are decoded.

        Closing the generator ends the work and frees what the job held. Raises ``Stopped`` and ``EngineFailure``;
        whatever ``report`` raises passes through.
        """
        ...
