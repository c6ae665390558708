"""Our loop against diffusers' pipeline: the same numbers, and an end as soon as somebody asks for it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference_worker.engines.protocol import EngineFailure, Step, Stopped
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest

if TYPE_CHECKING:
    import torch

    from inference_worker.engines.mochi.parts import Parts

pytestmark = pytest.mark.model

SMALL = GenerationRequest(
    prompt="a red cat runs", negative_prompt="fog", width=96, height=64, num_frames=19, steps=4, cfg=4.5, seed=7
)
REQUESTS = {
    "guided": SMALL,
    "no guidance": replace(SMALL, cfg=1.0),
    "no negative prompt": replace(SMALL, negative_prompt=""),
    "odd number of steps, tall": replace(SMALL, steps=5, width=32, height=128),
    "one latent frame": replace(SMALL, num_frames=1, steps=2),
    "a length between two": replace(SMALL, num_frames=18),
    "a prompt that is cut": replace(SMALL, prompt="words " * 80),
}


def unheard(step: Step) -> None:
    pass


def never() -> bool:
    return False


def oracle(stock: Any, request: GenerationRequest, output: str) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="In CPU autocast")
        return stock(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            num_frames=request.num_frames,
            num_inference_steps=request.steps,
            guidance_scale=request.cfg,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type=output,
        ).frames


def latents_of(parts: Parts, request: GenerationRequest, report: Any = unheard) -> torch.Tensor:
    from inference_worker.engines.mochi.loop import denoise, embed
    from inference_worker.engines.mochi.prompts import Prompts

    states, mask = embed(Prompts(parts), request, unheard, never)
    return denoise(parts, states, mask, request, report, never)


def video(parts: Parts, request: GenerationRequest, report: Any = unheard, stop: Any = never) -> np.ndarray:
    from inference_worker.engines.mochi.loop import make_video
    from inference_worker.engines.mochi.prompts import Prompts

    return np.concatenate(list(make_video(parts, Prompts(parts), request, report, stop)))


@pytest.mark.parametrize("name", REQUESTS)
def test_latents_equal_the_stock_pipelines(parts: Parts, stock: Any, name: str) -> None:
    ours, theirs = latents_of(parts, REQUESTS[name]), oracle(stock, REQUESTS[name], "latent")
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 1e-5
    assert float(theirs.std()) > 0.5


@pytest.mark.parametrize("name", ["guided", "one latent frame", "a length between two"])
def test_frames_equal_the_stock_pipelines(parts: Parts, stock: Any, name: str) -> None:
    ours, theirs = video(parts, REQUESTS[name]), oracle(stock, REQUESTS[name], "np")[0]
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs * 255).max() < 0.51  # half a step of rounding
    assert ours.std() > 20


def test_empty_prompts_are_masked_where_the_checkpoint_asks_for_it(parts: Parts, stock: Any) -> None:
    request = replace(SMALL, negative_prompt="")
    asking = replace(parts, zero_empty_prompts=True)
    stock.register_to_config(force_zeros_for_empty_prompt=True)
    try:
        theirs = oracle(stock, request, "latent")
    finally:
        stock.register_to_config(force_zeros_for_empty_prompt=False)
    assert float((latents_of(asking, request) - theirs).abs().max()) < 1e-5
    assert float((latents_of(parts, request) - theirs).abs().max()) > 1e-3


def test_a_bfloat16_transformer_keeps_float32_latents(parts: Parts) -> None:
    import copy

    import torch

    half = replace(parts, transformer=copy.deepcopy(parts.transformer).to(torch.bfloat16), dtype=torch.bfloat16)
    exact, rounded = latents_of(parts, SMALL), latents_of(half, SMALL)
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).norm() / exact.norm()) < 0.02


def test_a_single_step_goes_all_the_way(parts: Parts) -> None:
    shown: list[Step] = []
    latents = latents_of(parts, replace(SMALL, steps=1), shown.append)
    assert [(step.step, step.steps) for step in shown] == [(0, 1), (1, 1)]
    assert bool(latents.isfinite().all())


def test_the_last_guess_is_the_result(parts: Parts) -> None:
    """x0 = z + (1 − σ)·v has the right sign and the right sigma: on the last step it is where the scheduler goes."""
    from inference_worker.engines.mochi.preview import picture

    pictures: list[np.ndarray] = []
    latents = latents_of(parts, SMALL, lambda step: pictures.append(step.preview()) if step.preview else None)
    assert len(pictures) == SMALL.steps
    assert all(shown.shape == (8, 12, 3) and shown.dtype == np.uint8 for shown in pictures)
    assert np.abs(pictures[-1].astype(int) - picture(latents)).max() <= 1
    errors = [np.abs(shown.astype(int) - pictures[-1]).mean() for shown in pictures]
    assert errors == sorted(errors, reverse=True)


def test_phases_are_told_in_order_step_by_step(parts: Parts) -> None:
    told: list[Step] = []
    video(parts, SMALL, told.append)
    assert [(step.phase, step.step, step.steps) for step in told] == [
        *((Phase.ENCODE_PROMPT, step, 2) for step in range(3)),
        *((Phase.DENOISE, step, 4) for step in range(5)),
        *((Phase.DECODE, step, 4) for step in range(5)),
    ]


def test_stop_takes_effect_before_the_next_step_and_leaves_nothing_behind(parts: Parts) -> None:
    """Wherever a job is stopped, it reports nothing more, and the job after it is the one it would have been."""
    from inference_worker.engines.mochi.loop import make_video
    from inference_worker.engines.mochi.prompts import Prompts

    prompts = Prompts(parts)
    undisturbed = video(parts, SMALL)
    told: list[Step] = []
    video(parts, replace(SMALL, seed=8), told.append)
    for last in range(1, len(told)):
        reports = count(1)
        heard: list[Step] = []

        def report(step: Step, heard: list[Step] = heard, reports: Any = reports) -> None:
            heard.append(step)
            next(reports)

        with pytest.raises(Stopped):
            for _ in make_video(
                parts, prompts, replace(SMALL, seed=8), report, lambda heard=heard, last=last: len(heard) >= last
            ):
                pass
        # A phase's announcement ("0 of n") may follow; a step may not.
        assert not [step for step in heard[last:] if step.step > 0]
    after = np.concatenate(list(make_video(parts, prompts, SMALL, unheard, never)))
    assert np.array_equal(after, undisturbed)


def test_a_report_that_raises_ends_the_job_and_spoils_no_other(parts: Parts) -> None:
    def broken(step: Step) -> None:
        if step.phase is Phase.DENOISE and step.step == 2:
            raise ConnectionError("nobody listens")

    undisturbed = video(parts, SMALL)
    with pytest.raises(ConnectionError):
        video(parts, SMALL, broken)
    assert np.array_equal(video(parts, SMALL), undisturbed)


def test_seed_and_prompt_make_the_video(parts: Parts) -> None:
    first = video(parts, SMALL).astype(int)
    for other in (replace(SMALL, seed=8), replace(SMALL, prompt="a storm"), replace(SMALL, cfg=9.0)):
        assert np.abs(video(parts, other) - first).mean() > 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 100}, "multiples of 16"),
        ({"height": 0}, "multiples of 16"),
        ({"steps": 0}, "a frame and a step"),
        ({"num_frames": 0}, "a frame and a step"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(parts: Parts, wrong: dict[str, int], words: str) -> None:
    with pytest.raises(EngineFailure, match=words) as refused:
        video(parts, replace(SMALL, **wrong))
    assert refused.value.code is FailureCode.INVALID_INPUT
    assert not refused.value.fatal
