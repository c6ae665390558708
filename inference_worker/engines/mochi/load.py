"""Mochi's weights, from a local diffusers folder or the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKLMochi, FlowMatchEulerDiscreteScheduler, MochiPipeline, MochiTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from transformers import AutoTokenizer, T5EncoderModel

from inference_worker.engines.mochi.parts import Parts
from inference_worker.engines.protocol import EngineFailure, Report, Step
from schemas.failures import FailureCode
from schemas.phases import Phase

MODEL_VARIABLE = "OPENV_MOCHI_MODEL"
DEFAULT_MODEL = "genmo/mochi-1-preview"


def load_mochi(report: Report) -> Parts:
    """The model named by ``OPENV_MOCHI_MODEL``, on the GPU, in bfloat16 (about 30 GB of its memory).

    Raises ``EngineFailure`` (``MODEL_UNAVAILABLE``) where there is no GPU or the weights can't be had.
    """
    if not torch.cuda.is_available():
        raise EngineFailure(
            FailureCode.MODEL_UNAVAILABLE,
            "The engine mochi needs a CUDA GPU and torch sees none; choose the engine tiny, or install torch for CUDA.",
        )
    source = os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL
    return load_parts(source, torch.device("cuda"), torch.bfloat16, report)


def load_parts(source: str, device: torch.device, dtype: torch.dtype, report: Report) -> Parts:
    """Read the parts from a folder or hub id, one after the other, each moved to ``device`` before the next is read.

    Raises ``EngineFailure`` (``MODEL_UNAVAILABLE``) if one can't be had.
    """
    diffusers_logging.disable_progress_bar()
    models: list[Any] = []
    classes = (("text_encoder", T5EncoderModel), ("transformer", MochiTransformer3DModel), ("vae", AutoencoderKLMochi))
    report(Step(Phase.LOAD, 0, len(classes)))
    try:
        for folder, model in classes:
            models.append(_read(model.from_pretrained, source, folder, dtype).to(device))
            report(Step(Phase.LOAD, len(models), len(classes)))
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer")
        scheduler = FlowMatchEulerDiscreteScheduler.load_config(source, subfolder="scheduler")
        whole = MochiPipeline.load_config(source)
    except (OSError, ValueError, ImportError) as error:
        raise EngineFailure(
            FailureCode.MODEL_UNAVAILABLE,
            f"Mochi's weights cannot be read from {source!r} ({type(error).__name__}); set {MODEL_VARIABLE} to a"
            " diffusers folder, or to a Hugging Face model that this machine can reach.",
        ) from error
    text_encoder, transformer, vae = models
    zeros = bool(whole.get("force_zeros_for_empty_prompt", False))
    return Parts(tokenizer, text_encoder, transformer, vae, scheduler, device, dtype, zeros)


def _read(from_pretrained: Callable[..., Any], source: str, folder: str, dtype: torch.dtype) -> Any:
    """One model; the bfloat16 files where the source has some, which are half as large as the others."""
    try:
        return from_pretrained(source, subfolder=folder, dtype=dtype, variant="bf16")
    except OSError:
        return from_pretrained(source, subfolder=folder, dtype=dtype)
