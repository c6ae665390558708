"""Prompts are encoded once, cut at 256 tokens, and never written to a log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from inference_worker.engines.mochi.parts import Parts

pytestmark = pytest.mark.model


class Counting:
    """A text encoder that counts its calls."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.calls = 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        return self.encoder(*arguments, **named)


def test_a_known_prompt_is_not_encoded_again_and_the_oldest_is_forgotten(parts: Parts) -> None:
    import torch

    from inference_worker.engines.mochi.prompts import Prompts

    counting = Counting(parts.text_encoder)
    prompts = Prompts(replace(parts, text_encoder=counting), remembered=2)
    first = prompts.embed("a")
    prompts.embed("b")
    assert prompts.embed("a") is first
    assert counting.calls == 2
    prompts.embed("c")  # forgets b: a was used since
    prompts.embed("a")
    assert counting.calls == 3
    prompts.embed("b")
    assert counting.calls == 4
    assert torch.equal(Prompts(parts).embed("a").states, first.states)


def test_shapes_and_mask(parts: Parts) -> None:
    from inference_worker.engines.mochi.prompts import TOKENS, Prompts

    states, mask = Prompts(parts).embed("cat")
    assert states.shape == (1, TOKENS, 32)
    assert mask.shape == (1, TOKENS)
    assert int(mask.sum()) == len(parts.tokenizer("cat").input_ids)


@pytest.mark.parametrize(("letters", "cut"), [(200, False), (300, True)])
def test_a_prompt_that_is_cut_is_logged_without_its_words(
    parts: Parts, letters: int, cut: bool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from inference_worker.engines.mochi.prompts import TOKENS, Prompts

    with capture_logs() as logs:
        mask = Prompts(parts).embed("unspeakable" + "z" * letters).mask
    assert [line["event"] for line in logs] == (["prompt_truncated"] if cut else [])
    assert bool(mask.all()) is cut
    assert mask.shape == (1, TOKENS)
    assert "unspeakable" not in "".join([str(logs), caplog.text, *capfd.readouterr()])
