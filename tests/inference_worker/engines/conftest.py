"""The tiny model, twice: as the engines prepare it, and untouched inside diffusers' own pipeline, the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from inference_worker.engines.mochi.parts import Parts
    from inference_worker.engines.protocol import Step


def unheard(step: Step) -> None:
    """A report that nobody reads."""


def never() -> bool:
    """A stop that nobody asks for."""
    return False


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures this small are made faster by one thread than by several that wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENV_TORCH_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def parts() -> Parts:
    from inference_worker.engines.mochi.parts import ready, settle_threads
    from inference_worker.engines.tiny import tiny_parts

    settle_threads()
    return ready(tiny_parts(unheard))


@pytest.fixture(scope="session")
def stock() -> Any:
    """``MochiPipeline`` over the same weights, none of its modules replaced."""
    from diffusers import FlowMatchEulerDiscreteScheduler, MochiPipeline

    from inference_worker.engines.mochi.parts import settle_threads
    from inference_worker.engines.tiny import tiny_parts

    settle_threads()
    plain = tiny_parts(unheard)
    pipeline = MochiPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(plain.scheduler),
        vae=plain.vae.eval(),
        text_encoder=plain.text_encoder.eval(),
        tokenizer=plain.tokenizer,
        transformer=plain.transformer.eval(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
