"""Decoding in chunks equals decoding at once, in bounded memory."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from inference_worker.engines.protocol import Step, Stopped
from schemas.phases import Phase

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.model


def unheard(step: Step) -> None:
    pass


def deeper() -> Any:
    """A decoder of the real one's form: four resolutions, several blocks each, random weights."""
    import torch
    from diffusers import AutoencoderKLMochi

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoencoderKLMochi(
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 64, 64),
            layers_per_block=(2, 1, 1, 2, 1),
        ).eval()


def streamed(vae: Any) -> Any:
    from inference_worker.engines.mochi.decode import stream_through

    ours = copy.deepcopy(vae)
    stream_through(ours)
    return ours


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    import torch

    return torch.randn(1, 12, 7, 3, 4, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("depth", ["tiny", "deeper"])
def test_any_chunk_size_equals_one_shot(stock: Any, latents: torch.Tensor, depth: str) -> None:
    import torch

    from inference_worker.engines.mochi.decode import decoded, denormalised

    vae = stock.vae if depth == "tiny" else deeper()
    with torch.inference_mode():
        whole = vae.decode(denormalised(vae, latents), return_dict=False)[0][0]
    assert float(whole.std()) > 0.01
    ours = streamed(vae)
    for chunk in (1, 2, 3, 7, 9):
        pieces = list(decoded(ours, latents, unheard, lambda: False, chunk))
        assert pieces[0].shape[1] == min(chunk, 7) * 6 - 5
        assert float((torch.cat(pieces, dim=1) - whole).abs().max()) < 1e-4


def test_a_streamed_decoder_keeps_the_names_of_its_weights(stock: Any) -> None:
    ours = streamed(stock.vae)
    assert list(ours.state_dict()) == list(stock.vae.state_dict())


def test_streaming_twice_changes_nothing(stock: Any) -> None:
    from inference_worker.engines.mochi.decode import stream_through

    once = streamed(stock.vae)
    modules = list(once.modules())
    stream_through(once)
    assert list(once.modules()) == modules


def test_progress_is_told_chunk_by_chunk_and_stop_is_heard_between(stock: Any, latents: torch.Tensor) -> None:
    from inference_worker.engines.mochi.decode import decoded

    told: list[Step] = []
    got: list[torch.Tensor] = []
    with pytest.raises(Stopped):
        got.extend(decoded(streamed(stock.vae), latents, told.append, lambda: len(told) == 4))
    assert [(step.phase, step.step, step.steps) for step in told] == [(Phase.DECODE, step, 7) for step in range(4)]
    assert len(got) == 3


def test_inference_mode_does_not_leak_to_the_consumer(stock: Any, latents: torch.Tensor) -> None:
    import torch

    from inference_worker.engines.mochi.decode import decoded

    for _ in decoded(streamed(stock.vae), latents, unheard, lambda: False):
        assert not torch.is_inference_mode_enabled()


def test_latents_without_statistics_are_only_scaled() -> None:
    import torch
    from diffusers import AutoencoderKLMochi

    from inference_worker.engines.mochi.decode import denormalised
    from inference_worker.engines.tiny_decoder import DECODER_SHAPE

    vae = AutoencoderKLMochi(**DECODER_SHAPE, latents_mean=None, latents_std=None, scaling_factor=0.5)
    assert torch.equal(denormalised(vae, torch.ones(1, 12, 1, 1, 1)), torch.full((1, 12, 1, 1, 1), 2.0))


def test_pixels_become_bytes_rounded_and_clipped() -> None:
    import torch

    from inference_worker.engines.mochi.decode import as_frames

    pixels = torch.tensor([-1.5, -1.0, 0.0, 1.0, 1.5]).expand(3, 2, 1, 5)
    frames = as_frames(pixels)
    assert frames.shape == (2, 1, 5, 3)
    assert frames[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]
