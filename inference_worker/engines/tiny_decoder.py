"""A Mochi decoder small enough for a CPU, with weights set by hand so that it paints smooth drifting colours.

All its convolutions run at the latents' resolution; one projection then makes 6×8×8 pixels of each position. Random
weights there would give each position its own hard-edged 8×8 tile, which is ugly and which H.264 can't compress. So:

1. ``conv_in`` mixes the latents into five source channels;
2. the first residual block blurs them into five more;
3. the second one mixes those into three colours and copies each colour's value at the position, its 8 neighbours and
   the moment before, into 54 channels of their own;
4. the projection interpolates linearly between those, in space and time.

The decoder's non-linearity passes x unchanged as silu(x) − silu(−x), hence the pairs of channels with opposite signs.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLMochi

_CHANNELS = 64
_COLOURS = 3
_PIXEL_CHANNELS = 2 * _COLOURS
_TIMES = 6  # frames made of one latent frame
_SIDE = 8  # pixels made of one latent, either way
_SPAN = (-1, 0, 1)
_SOURCES = slice(54, 59)
_BLURRED = slice(59, 64)
_CONTRAST = 0.45  # standard deviation of a colour, in units of half the range from black to white

DECODER_SHAPE: dict[str, Any] = {
    "latent_channels": 12,
    "encoder_block_out_channels": (32, 32),
    "decoder_block_out_channels": (_PIXEL_CHANNELS, _CHANNELS),
    "layers_per_block": (0, 1, 1),
    "temporal_expansions": (_TIMES,),
    "spatial_expansions": (_SIDE,),
}


@torch.no_grad()
def paint_smoothly(vae: AutoencoderKLMochi) -> AutoencoderKLMochi:
    """Set the decoder's weights as described above; what is random comes from torch's current random state."""
    decoder = vae.decoder
    for parameter in decoder.parameters():
        parameter.zero_()
    decoder.conv_in.weight[_SOURCES] = _mix(5, 12)[:, :, None, None, None]
    blur, gather = decoder.block_in.resnets[0], decoder.up_blocks[0].resnets[0]
    for block in (blur, gather):
        block.norm1.norm_layer.weight.fill_(1.0)
        block.norm2.norm_layer.weight.fill_(1.0)
    blur.conv1.conv.weight[_SOURCES, _SOURCES] = _mix(5, 5)[:, :, None, None, None] * _blur_kernel()
    blur.conv2.conv.weight[_BLURRED, _SOURCES] = _mix(5, 5)[:, :, None, None, None] * _blur_kernel()
    colours = _mix(_COLOURS, 5)[:, :, None, None, None] * _blur_kernel()
    gather.conv1.conv.weight[0:_PIXEL_CHANNELS:2, _BLURRED] = colours
    gather.conv1.conv.weight[1:_PIXEL_CHANNELS:2, _BLURRED] = -colours
    _copy_neighbours(gather.conv2.conv.weight)
    _interpolate(decoder.up_blocks[0].proj.weight)
    for colour in range(_COLOURS):
        decoder.proj_out.weight[colour, 2 * colour] = _CONTRAST
        decoder.proj_out.weight[colour, 2 * colour + 1] = -_CONTRAST
    return vae


def _mix(out: int, into: int) -> torch.Tensor:
    """A random [out, into] matrix of orthogonal rows: what it makes has no two channels alike."""
    return torch.nn.init.orthogonal_(torch.empty(out, into))


def _blur_kernel() -> torch.Tensor:
    """A smooth [3, 3, 3] kernel of sum 1: even weights in time, a bell in space."""
    bell = torch.tensor([0.5, 1.0, 0.5])
    kernel: torch.Tensor = torch.ones(3)[:, None, None] * bell[:, None] * bell
    return kernel / kernel.sum()


def _neighbour(colour: int, back: int, down: int, right: int) -> int:
    """The channel that holds a colour ``back`` moments ago (0 or 1), ``down`` and ``right`` of here (−1, 0 or 1)."""
    return ((colour * 2 + back) * 3 + down + 1) * 3 + right + 1


def _copy_neighbours(weight: torch.Tensor) -> None:
    """Fill a [64, 64, 3, 3, 3] kernel; its third time tap is the present, its middle row and column are here."""
    for colour in range(_COLOURS):
        for back in (0, 1):
            for down in _SPAN:
                for right in _SPAN:
                    row = weight[_neighbour(colour, back, down, right)]
                    row[2 * colour, 2 - back, 1 + down, 1 + right] = 1.0
                    row[2 * colour + 1, 2 - back, 1 + down, 1 + right] = -1.0


def _interpolate(weight: torch.Tensor) -> None:
    """Fill the projection [6·6·8·8, 64]: linear in time from the moment before, bilinear in space."""
    place = (torch.arange(_SIDE) + 0.5) / _SIDE - 0.5
    near = {step: (1.0 - (place - step).abs()).clamp(min=0.0) for step in _SPAN}
    now = torch.arange(1, _TIMES + 1) / _TIMES
    when = (now, 1.0 - now)
    pixels = weight.view(_PIXEL_CHANNELS, _TIMES, _SIDE, _SIDE, _CHANNELS)
    for colour in range(_COLOURS):
        for back in (0, 1):
            for down in _SPAN:
                for right in _SPAN:
                    share = when[back][:, None, None] * near[down][:, None] * near[right]
                    channel = _neighbour(colour, back, down, right)
                    pixels[2 * colour, ..., channel] = share
                    pixels[2 * colour + 1, ..., channel] = -share
