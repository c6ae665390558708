"""The parts a Mochi video is made with: tokenizer, text encoder, transformer, VAE, and where and how they run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLMochi, MochiTransformer3DModel
from transformers import PreTrainedTokenizerBase, T5EncoderModel

from inference_worker.engines.mochi.decode import stream_through


@dataclass(frozen=True, slots=True)
class Parts:
    """A loaded model. ``dtype`` is the transformer's; latents are float32 whatever it is (see ``loop``).

    ``scheduler`` is the scheduler's configuration: every job builds its own from it, so no state passes between jobs.
    ``zero_empty_prompts``: mask an empty prompt altogether, as the checkpoint's configuration may ask.
    """

    tokenizer: PreTrainedTokenizerBase
    text_encoder: T5EncoderModel
    transformer: MochiTransformer3DModel
    vae: AutoencoderKLMochi
    scheduler: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    zero_empty_prompts: bool = False


def ready(parts: Parts) -> Parts:
    """Put the models on their device, in inference mode, the decoder able to stream. Returns the same parts."""
    for model in (parts.text_encoder, parts.transformer, parts.vae):
        model.eval().requires_grad_(False).to(parts.device)
    stream_through(parts.vae)
    return parts


def settle_threads() -> int:
    """Let torch use ``OPENV_TORCH_THREADS`` threads (default: the CPUs this process may run on). Returns how many."""
    wanted = os.environ.get("OPENV_TORCH_THREADS", "")
    threads = int(wanted) if wanted.isdigit() and int(wanted) > 0 else len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads
