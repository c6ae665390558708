"""Latents to pixels, a few latent frames at a time, equal to decoding all at once.

The Mochi VAE's decoder looks at the present and the past only: every convolution over time needs the k−1 frames before
the chunk, nothing else does. Stock diffusers pads each chunk anew instead (its frame-wise decoding crashes), so its
convolutions are replaced by ones that carry those frames over. Memory is bounded by the chunk, not by the video.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from diffusers import AutoencoderKLMochi
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXCausalConv3d
from numpy.typing import NDArray
from torch import nn

from inference_worker.engines.protocol import Report, Step, Stop, Stopped
from schemas.phases import Phase

CHUNK = 1  # latent frames: 6 frames of video; the real decoder needs about 4 GB for one at 848×480 in bfloat16


class StreamedConv(nn.Module):
    """A causal convolution that takes the frames before its input from ``conv_cache``; None means the beginning.

    At the beginning the first frame stands in for those before it, as in the convolution it replaces; it keeps that
    one's parameters and their names.
    """

    def __init__(self, stock: CogVideoXCausalConv3d) -> None:
        super().__init__()
        self.conv = stock.conv
        self.past = stock.time_kernel_size - 1
        self.edges = (stock.width_pad, stock.width_pad, stock.height_pad, stock.height_pad, 0, 0)

    def forward(
        self, inputs: torch.Tensor, conv_cache: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Convolve [b, c, t, h, w]; returns the output, same t, and the cache for the next chunk."""
        padded = F.pad(inputs, self.edges, mode="replicate")
        if self.past == 0:
            return self.conv(padded), None
        if conv_cache is None:
            conv_cache = padded[:, :, :1].expand(-1, -1, self.past, -1, -1)
        padded = torch.cat([conv_cache, padded], dim=2)
        # A copy: a view would keep the whole chunk alive until the next one is done.
        return self.conv(padded), padded[:, :, -self.past :].clone()


def stream_through(vae: AutoencoderKLMochi) -> None:
    """Replace the decoder's causal convolutions by streamed ones, in place. A second call changes nothing."""
    for parent in list(vae.decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CogVideoXCausalConv3d):
                setattr(parent, name, StreamedConv(child))


def denormalised(vae: AutoencoderKLMochi, latents: torch.Tensor) -> torch.Tensor:
    """Latents as the transformer sees them → as the VAE was trained on, by the statistics in its configuration."""
    config = vae.config
    if config.latents_mean is None or config.latents_std is None:
        return latents.div(config.scaling_factor)
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(config.latents_mean, device=latents.device, dtype=latents.dtype).view(shape)
    std = torch.tensor(config.latents_std, device=latents.device, dtype=latents.dtype).view(shape)
    return latents.mul(std).div(config.scaling_factor).add(mean)


def decoded(
    vae: AutoencoderKLMochi, latents: torch.Tensor, report: Report, stop: Stop, chunk: int = CHUNK
) -> Iterator[torch.Tensor]:
    """Decode normalised latents [1, c, t, h, w] to pixels [3, n, 8h, 8w] in −1…1, chunk by chunk, in order.

    The first chunk is shorter: of the frames made from the first latent only the last is part of the video.
    Raises ``Stopped`` between chunks.
    """
    total = latents.shape[2]
    chunks = -(-total // chunk)
    cache = None
    report(Step(Phase.DECODE, 0, chunks))
    for number in range(chunks):
        if stop():
            raise Stopped
        part = latents[:, :, number * chunk : (number + 1) * chunk]
        # Not around the yield: the mode would be on in whoever consumes the frames.
        with torch.inference_mode():
            pixels, cache = vae.decoder(denormalised(vae, part).to(vae.dtype), conv_cache=cache)
        yield pixels[0] if number else pixels[0, :, vae.temporal_compression_ratio - 1 :]
        report(Step(Phase.DECODE, number + 1, chunks))


def as_frames(pixels: torch.Tensor) -> NDArray[np.uint8]:
    """Pixels [3, n, H, W] in −1…1 → RGB frames [n, H, W, 3]."""
    scaled = (pixels.float() * 127.5 + 127.5).round_().clamp_(0, 255)
    frames: NDArray[np.uint8] = scaled.to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return frames
