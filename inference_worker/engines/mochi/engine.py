"""The engine that runs the loop: ``mochi`` with the real weights on a GPU. ``tiny`` is the same with other parts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from inference_worker.engines.mochi.failures import known_failures
from inference_worker.engines.mochi.load import load_mochi
from inference_worker.engines.mochi.loop import make_video
from inference_worker.engines.mochi.parts import Parts, ready, settle_threads
from inference_worker.engines.mochi.prompts import Prompts
from inference_worker.engines.protocol import EngineFailure, Report, Stop, Video
from schemas.failures import FailureCode
from schemas.requests import GenerationRequest


class LoopEngine:
    """An engine made of Mochi parts, wherever ``make_parts`` has them from."""

    def __init__(self, name: str, make_parts: Callable[[Report], Parts]) -> None:
        self.name = name
        self.device = "not loaded"
        self._make_parts = make_parts
        self._loaded: tuple[Parts, Prompts] | None = None

    def load(self, report: Report) -> None:
        """Make or read the parts. Raises ``EngineFailure``."""
        settle_threads()
        with known_failures("loading the model"):
            parts = ready(self._make_parts(report))
        self.device = device_name(parts.device)
        self._loaded = (parts, Prompts(parts))

    def generate(self, request: GenerationRequest, report: Report, stop: Stop) -> Video:
        """See ``Engine.generate``; a chunk is the frames of one latent frame."""
        if self._loaded is None:
            raise EngineFailure(FailureCode.MODEL_UNAVAILABLE, "The engine was asked for a video before it was loaded.")
        parts, prompts = self._loaded
        size = f"making {request.width}×{request.height}×{request.num_frames}"
        with known_failures(size):
            yield from make_video(parts, prompts, request, report, stop)


def device_name(device: torch.device) -> str:
    """ "NVIDIA H100 80GB HBM3", or "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def mochi_engine() -> LoopEngine:
    """Mochi 1 on this machine's GPU, its weights from ``OPENV_MOCHI_MODEL``."""
    return LoopEngine("mochi", load_mochi)
