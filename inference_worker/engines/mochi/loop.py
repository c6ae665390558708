"""Our denoising loop: what ``MochiPipeline.__call__`` does, with progress, previews and an end when asked.

It differs from the stock pipeline in one number format: latents stay float32 between steps while the transformer runs
in its own dtype. In bfloat16 a step is often too small to move a latent at all.
"""

from __future__ import annotations

import warnings
from functools import partial

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

from inference_worker.engines.mochi.decode import as_frames, decoded
from inference_worker.engines.mochi.parts import Parts
from inference_worker.engines.mochi.preview import preview_of
from inference_worker.engines.mochi.prompts import Prompts
from inference_worker.engines.protocol import EngineFailure, Report, Step, Stop, Stopped, Video
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import FRAME_STEP, SIZE_STEP, GenerationRequest

THRESHOLD_NOISE = 0.025  # Genmo's: where the linear half of the schedule ends
LATENT_SIDE = 8  # pixels a latent stands for, either way


def make_video(parts: Parts, prompts: Prompts, request: GenerationRequest, report: Report, stop: Stop) -> Video:
    """Prompt → frames [t, H, W, 3], chunk by chunk. Raises ``Stopped``, ``EngineFailure`` (``INVALID_INPUT``)."""
    check(request)
    states, mask = embed(prompts, request, report, stop)
    latents = denoise(parts, states, mask, request, report, stop)
    for pixels in decoded(parts.vae, latents, report, stop):
        yield as_frames(pixels)


def check(request: GenerationRequest) -> None:
    """Refuse what the model would only stumble over later. Raises ``EngineFailure`` (``INVALID_INPUT``)."""
    wrong = None
    if any(side < SIZE_STEP or side % SIZE_STEP for side in (request.width, request.height)):
        wrong = f"Width and height must be multiples of {SIZE_STEP} pixels, not {request.width}×{request.height}."
    elif request.num_frames < 1 or request.steps < 1:
        wrong = f"A video needs a frame and a step at least, not {request.num_frames} and {request.steps}."
    if wrong:
        raise EngineFailure(FailureCode.INVALID_INPUT, wrong)


def embed(
    prompts: Prompts, request: GenerationRequest, report: Report, stop: Stop
) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings and masks that the transformer gets: [negative, positive] with guidance, else the prompt's."""
    texts = [request.negative_prompt, request.prompt] if request.cfg > 1 else [request.prompt]
    known = []
    report(Step(Phase.ENCODE_PROMPT, 0, len(texts)))
    for number, text in enumerate(texts, 1):
        if stop():
            raise Stopped
        known.append(prompts.embed(text))
        report(Step(Phase.ENCODE_PROMPT, number, len(texts)))
    return torch.cat([one.states for one in known]), torch.cat([one.mask for one in known])


def noise(parts: Parts, request: GenerationRequest) -> torch.Tensor:
    """The latents to begin with, float32 [1, c, t, h, w]. Drawn on the CPU: a seed means the same on every device."""
    shape = (
        1,
        parts.transformer.config.in_channels,
        (request.num_frames - 1) // FRAME_STEP + 1,
        request.height // LATENT_SIDE,
        request.width // LATENT_SIDE,
    )
    generator = torch.Generator("cpu").manual_seed(request.seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(parts.device)


def schedule(parts: Parts, steps: int) -> FlowMatchEulerDiscreteScheduler:
    """A scheduler of this job's own, set to Mochi's linear-quadratic sigmas."""
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(parts.scheduler)
    # The formula divides by steps // 2; a single step can only go all the way.
    sigmas = linear_quadratic_schedule(steps, THRESHOLD_NOISE) if steps > 1 else [1.0]
    scheduler.set_timesteps(sigmas=sigmas, device=parts.device)
    scheduler.set_begin_index(0)
    return scheduler


def denoise(
    parts: Parts, states: torch.Tensor, mask: torch.Tensor, request: GenerationRequest, report: Report, stop: Stop
) -> torch.Tensor:
    """Noise → latents of the video, float32 [1, c, t, h, w], normalised. Raises ``Stopped`` between steps."""
    scheduler = schedule(parts, request.steps)
    sigmas = scheduler.sigmas.tolist()
    latents = noise(parts, request)
    report(Step(Phase.DENOISE, 0, request.steps))
    for number, time in enumerate(scheduler.timesteps):
        if stop():
            raise Stopped
        with torch.inference_mode():
            velocity = guided_velocity(parts, latents, time, states, mask, request.cfg)
            preview = partial(preview_of, latents, velocity, sigmas[number])
            latents = scheduler.step(velocity, time, latents, return_dict=False)[0]
            report(Step(Phase.DENOISE, number + 1, request.steps, preview))
    return latents


def guided_velocity(
    parts: Parts, latents: torch.Tensor, time: torch.Tensor, states: torch.Tensor, mask: torch.Tensor, cfg: float
) -> torch.Tensor:
    """Where the latents should go, float32, their shape; with guidance the prompt's pull is multiplied by ``cfg``."""
    copies = states.shape[0]
    with warnings.catch_warnings():
        # The transformer asks for float32 rotary positions through autocast, which a CPU does not have: harmless there.
        warnings.filterwarnings("ignore", message="In CPU autocast")
        velocity: torch.Tensor = parts.transformer(
            hidden_states=latents.to(parts.dtype).expand(copies, -1, -1, -1, -1),
            encoder_hidden_states=states.to(parts.dtype),
            timestep=time.expand(copies),
            encoder_attention_mask=mask,
            return_dict=False,
        )[0].float()
    if copies == 1:
        return velocity
    without, towards = velocity.chunk(2)
    guided: torch.Tensor = without + cfg * (towards - without)
    return guided
