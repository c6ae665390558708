"""The latent-to-RGB map by hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.model


def test_the_middle_frame_by_the_published_factors() -> None:
    import torch

    from inference_worker.engines.mochi.preview import picture

    latents = torch.zeros(1, 12, 5, 2, 3)
    latents[0, 7, 2, 1, 2] = 1.0  # channel 7 in the middle frame, lower right
    shown = picture(latents)
    assert shown.shape == (2, 3, 3)
    assert shown.dtype == np.uint8
    # (bias + 1) · 127.5, and with channel 7's factors added
    assert shown[0, 0].tolist() == [116, 109, 109]
    assert shown[1, 2].tolist() == [183, 176, 158]


def test_values_beyond_black_and_white_are_clipped() -> None:
    import torch

    from inference_worker.engines.mochi.preview import picture

    assert picture(torch.full((1, 12, 1, 1, 1), 50.0)).max() == 255
    assert picture(torch.full((1, 12, 1, 1, 1), -50.0)).min() == 0


def test_the_guess_moves_by_what_is_left_of_the_way() -> None:
    import torch

    from inference_worker.engines.mochi.preview import finished_guess

    guess = finished_guess(torch.ones(1), torch.full((1,), 2.0), sigma=0.75)
    assert float(guess) == pytest.approx(1.5)
