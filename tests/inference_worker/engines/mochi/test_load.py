"""Weights from a diffusers folder, and one clear sentence where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inference_worker.engines.protocol import EngineFailure, Step
from schemas.failures import FailureCode

if TYPE_CHECKING:
    from inference_worker.engines.mochi.parts import Parts

pytestmark = pytest.mark.model


@pytest.mark.parametrize("variant", [None, "bf16"])
def test_a_saved_pipeline_loads_part_by_part_with_the_same_weights(
    stock: Any, parts: Parts, tmp_path: Path, variant: str | None
) -> None:
    import torch

    from inference_worker.engines.mochi.load import load_parts
    from inference_worker.engines.mochi.parts import ready

    stock.save_pretrained(tmp_path, variant=variant)
    told: list[Step] = []
    loaded = ready(load_parts(str(tmp_path), torch.device("cpu"), torch.float32, told.append))
    assert [(step.step, step.steps) for step in told] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert loaded.zero_empty_prompts is False
    assert loaded.scheduler["invert_sigmas"] is True
    for ours, theirs in (
        (loaded.transformer, parts.transformer),
        (loaded.vae, parts.vae),
        (loaded.text_encoder, parts.text_encoder),
    ):
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight), name
    assert loaded.tokenizer("a red cat").input_ids == parts.tokenizer("a red cat").input_ids


def test_a_dtype_is_applied_to_every_model(stock: Any, tmp_path: Path) -> None:
    import torch

    from inference_worker.engines.mochi.load import load_parts

    stock.save_pretrained(tmp_path)
    loaded = load_parts(str(tmp_path), torch.device("cpu"), torch.bfloat16, lambda _: None)
    assert {loaded.transformer.dtype, loaded.vae.dtype, loaded.text_encoder.dtype} == {torch.bfloat16}


def test_a_folder_without_weights_says_what_to_set(tmp_path: Path) -> None:
    import torch

    from inference_worker.engines.mochi.load import load_parts

    with pytest.raises(EngineFailure, match="set OPENV_MOCHI_MODEL") as failure:
        load_parts(str(tmp_path), torch.device("cpu"), torch.float32, lambda _: None)
    assert failure.value.code is FailureCode.MODEL_UNAVAILABLE
    assert str(tmp_path) in failure.value.message


def test_without_a_gpu_mochi_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from inference_worker.engines.choose import choose_engine

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineFailure, match="choose the engine tiny") as failure:
        choose_engine("mochi").load(lambda _: None)
    assert failure.value.code is FailureCode.MODEL_UNAVAILABLE


def test_the_threads_are_those_the_operator_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import torch

    from inference_worker.engines.mochi.parts import settle_threads

    before = torch.get_num_threads()
    try:
        for text, threads in (("1", 1), ("", len(os.sched_getaffinity(0))), ("many", len(os.sched_getaffinity(0)))):
            monkeypatch.setenv("OPENV_TORCH_THREADS", text)
            assert settle_threads() == torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
