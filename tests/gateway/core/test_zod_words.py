"""The original form of a submission, and what its validator says of a wrong one: the words of zod 3.23.8, run
over the same bodies."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.submission import Invalid, generation_request
from schemas.requests import GenerationRequest
from tests.gateway.core.test_submission import ANYTHING

INPUT = {
    "positive_prompt": "a corgi", "negative_prompt": "", "width": 848, "height": 480, "steps": 40, "cfg": 6,
    "num_frames": 31, "seed": 42,
}  # fmt: skip
BODY = {"prompt": "a corgi", "modelName": "mochi-1", "input": INPUT}
BOTH = ("Expected integer, received float", "Number must be greater than or equal to 384")


def lines(body: Any) -> list[tuple[str, str]]:
    made = generation_request(body)
    assert isinstance(made, Invalid)
    return [(line.field, line.message) for line in made.details]


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("num_frames", 128, ("Number must be less than or equal to 127",)),
        ("num_frames", 6, ("Number must be greater than or equal to 7",)),
        ("num_frames", 30.5, ("Expected integer, received float",)),
        ("height", 4.5, BOTH),
        ("width", "848", ("Expected number, received string",)),
        ("steps", True, ("Expected number, received boolean",)),
        ("seed", None, ("Expected number, received null",)),
        ("seed", 2**31, ("Number must be less than or equal to 2147483647",)),
        ("seed", 1e30, ("Number must be less than or equal to 2147483647",)),
        ("seed", -1, ("Number must be greater than or equal to 0",)),
        ("cfg", 20.5, ("Number must be less than or equal to 20",)),
        ("cfg", 0.5, ("Number must be greater than or equal to 1",)),
        ("cfg", [], ("Expected number, received array",)),
        ("negative_prompt", "x" * 501, ("String must contain at most 500 character(s)",)),
        ("negative_prompt", None, ("Expected string, received null",)),
        ("positive_prompt", "", ("String must contain at least 1 character(s)",)),
        ("positive_prompt", {}, ("Expected string, received object",)),
    ],
)
def test_a_wrong_member_is_named_by_its_path_in_the_validators_words(
    member: str, value: Any, words: tuple[str, ...]
) -> None:
    wrong = {**BODY, "input": {**INPUT, member: value}}
    assert lines(wrong) == [(f"input.{member}", line) for line in words]


def test_what_is_left_out_is_required_and_told_in_the_validators_order() -> None:
    assert lines({"modelName": "mochi-1", "input": {}}) == [
        ("prompt", "Required"),
        *((f"input.{name}", "Required") for name in INPUT if name != "negative_prompt"),
    ]
    assert lines({**BODY, "input": None}) == [("input", "Expected object, received null")]
    assert lines({**BODY, "prompt": "x" * 501}) == [("prompt", "String must contain at most 500 character(s)")]
    assert lines({**BODY, "prompt": "\0"}) == [("prompt", "must not contain the character U+0000")]
    assert lines({**BODY, "prompt": "  "}) == [("prompt", "String must contain at least 1 character(s)")]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("sora", "Invalid enum value. Expected 'mochi-1', received 'sora'"),
        (7, "Expected 'mochi-1', received number"),
        (None, "Expected 'mochi-1', received null"),
        ("x" * 5_000, f"Invalid enum value. Expected 'mochi-1', received '{'x' * 100}'"),
    ],
)
def test_the_model_is_looked_at_first_and_alone(model: Any, words: str) -> None:
    assert lines({"modelName": model, "prompt": 7, "input": 7}) == [("modelName", words)]
    assert lines({"prompt": 7, "input": {}}) == [("modelName", "Required")]


def test_input_alone_says_how_and_prompt_says_what() -> None:
    flat = {"width": 400, "num_frames": 127, "seed": 9, "model": "sora", "negative_prompt": "x", "duration": 5}
    body = {**BODY, **flat, "input": {**INPUT, "positive_prompt": "another", "seed": 0, "num_frames": 37.0}}
    assert generation_request(body) == GenerationRequest(prompt="a corgi", seed=0, num_frames=37, cfg=6.0)


def test_the_flat_form_may_name_the_model_as_the_original_does() -> None:
    assert generation_request({"prompt": "a", "modelName": "mochi-1"}) == GenerationRequest(prompt="a")
    assert lines({"prompt": "a", "modelName": "sora"}) == [("model", "must be mochi-1")]


@given(st.fixed_dictionaries({"modelName": st.just("mochi-1") | ANYTHING, "prompt": ANYTHING, "input": ANYTHING}))
def test_whatever_comes_is_refused_with_words_that_do_not_quote_the_prompt(body: dict[str, Any]) -> None:
    body["prompt"] = f"secret {body['prompt']}" if isinstance(body["prompt"], str) else body["prompt"]
    made = generation_request(body)
    if isinstance(made, Invalid):
        assert made.details
        assert all(line.field and line.message and "secret" not in line.message for line in made.details)
