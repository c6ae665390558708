"""The tiny engine: the same at every start, no file, no network, pictures worth looking at."""

from __future__ import annotations

import numpy as np
import pytest

from inference_worker.engines.protocol import EngineFailure, Step
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest

pytestmark = pytest.mark.model

SMALL = GenerationRequest(prompt="a red cat", width=96, height=64, num_frames=13, steps=3)


def frames(request: GenerationRequest) -> np.ndarray:
    from inference_worker.engines.tiny import tiny_engine

    engine = tiny_engine()
    engine.load(lambda _: None)
    return np.concatenate(list(engine.generate(request, lambda _: None, lambda: False)))


def test_every_start_makes_the_same_video_and_draws_from_nobodys_random_state() -> None:
    import torch

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = frames(SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(frames(SMALL), first)
    assert first.shape == (13, 64, 96, 3)


def test_the_video_is_smooth_in_space_and_time_and_colourful() -> None:
    video = frames(SMALL).astype(int)
    assert video.std() > 25
    assert np.abs(video[..., 0] - video[..., 2]).mean() > 15
    for axis in (0, 1, 2):
        assert np.abs(np.diff(video, axis=axis)).mean() < video.std() / 4


def test_loading_is_told_and_names_the_device() -> None:
    from inference_worker.engines.tiny import tiny_engine

    told: list[Step] = []
    engine = tiny_engine()
    engine.load(told.append)
    assert [(step.phase, step.step, step.steps) for step in told] == [(Phase.LOAD, 0, 1), (Phase.LOAD, 1, 1)]
    assert engine.name == "tiny"
    assert engine.device.startswith("CPU, ")


def test_an_engine_must_be_loaded_first() -> None:
    from inference_worker.engines.tiny import tiny_engine

    with pytest.raises(EngineFailure, match="before it was loaded") as failure:
        next(tiny_engine().generate(SMALL, lambda _: None, lambda: False))
    assert failure.value.code is FailureCode.MODEL_UNAVAILABLE


def test_a_video_dropped_half_way_can_be_closed() -> None:
    from inference_worker.engines.tiny import tiny_engine

    engine = tiny_engine()
    engine.load(lambda _: None)
    undisturbed = np.concatenate(list(engine.generate(SMALL, lambda _: None, lambda: False)))
    dropped = engine.generate(SMALL, lambda _: None, lambda: False)
    next(dropped)
    dropped.close()
    assert np.array_equal(np.concatenate(list(engine.generate(SMALL, lambda _: None, lambda: False))), undisturbed)
