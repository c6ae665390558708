"""What the video would look like if it were finished now: a linear map from latents to RGB, a few milliseconds.

The factors are the least-squares fit for Mochi's latent space that ComfyUI publishes (``latent_formats.Mochi``);
they apply to the normalised latents, those the transformer sees.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_FACTORS = (
    (-0.0069, -0.0045, 0.0018),
    (0.0154, -0.0692, -0.0274),
    (0.0333, 0.0019, 0.0206),
    (-0.1390, 0.0628, 0.1678),
    (-0.0725, 0.0134, -0.1898),
    (0.0074, -0.0270, -0.0209),
    (-0.0176, -0.0277, -0.0221),
    (0.5294, 0.5204, 0.3852),
    (-0.0326, -0.0446, -0.0143),
    (-0.0659, 0.0153, -0.0153),
    (0.0185, -0.0217, 0.0014),
    (-0.0396, -0.0495, -0.0281),
)
_BIAS = (-0.0940, -0.1418, -0.1453)


def finished_guess(latents: torch.Tensor, velocity: torch.Tensor, sigma: float) -> torch.Tensor:
    """The clean latents that a straight path from here would end in.

    Mochi's sigmas run from 0 (noise) to 1 (video), the reverse of what flow matching usually calls sigma, and a step
    moves by (next − sigma)·velocity; so what is left of the way is (1 − sigma)·velocity.
    """
    return latents + (1.0 - sigma) * velocity


def picture(latents: torch.Tensor) -> NDArray[np.uint8]:
    """The middle frame of normalised latents [1, 12, t, h, w] as RGB [h, w, 3], one pixel a latent (1/8 the size)."""
    middle = latents[0, :, latents.shape[2] // 2].float()
    factors = torch.tensor(_FACTORS, device=latents.device)
    bias = torch.tensor(_BIAS, device=latents.device)
    rgb = torch.einsum("chw,cr->hwr", middle, factors) + bias
    shown: NDArray[np.uint8] = ((rgb + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return shown


def preview_of(latents: torch.Tensor, velocity: torch.Tensor, sigma: float) -> NDArray[np.uint8]:
    """The middle frame of the video that a step is heading for, RGB [h, w, 3]."""
    return picture(finished_guess(latents, velocity, sigma))
