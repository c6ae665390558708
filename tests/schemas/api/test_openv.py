"""OpenV's bodies: defaults, spellings, sums."""

from schemas.api.openv import FIELD_OF_ALIAS, GenerateBody, monthly_quota
from schemas.jobs import Remaining
from schemas.shape import to_plain


def test_what_is_left_out_or_null_takes_openvs_defaults() -> None:
    body = GenerateBody.model_validate({"prompt": "a", "width": None})
    assert (body.width, body.height, body.steps, body.cfg, body.num_frames, body.seed) == (848, 480, 40, 6, 31, 42)
    assert (body.negative_prompt, body.model) == ("", "mochi-1")


def test_a_seed_of_zero_is_a_seed() -> None:
    assert GenerateBody.model_validate({"prompt": "a", "seed": 0}).seed == 0


def test_every_spelling_is_understood_and_reported_under_one_name() -> None:
    for spelling in ("positive_prompt", "positivePrompt"):
        assert GenerateBody.model_validate({spelling: "a"}).prompt == "a"
        assert FIELD_OF_ALIAS[spelling] == "prompt"
    assert GenerateBody.model_validate({"prompt": "a", "numFrames": 13}).num_frames == 13
    assert GenerateBody.model_validate({"prompt": "a", "negativePrompt": "b"}).negative_prompt == "b"


def test_sums_are_rounded_to_two_decimals() -> None:
    remaining = Remaining(
        limit_seconds=600,
        used_seconds=1.29166,
        remaining_seconds=598.70833,
        period_start=0,
        period_end=None,
        active=1,
        max_active=3,
    )
    quota = to_plain(monthly_quota(remaining))
    assert quota == {"remainingSeconds": 598.71, "currentUsage": 1.29, "limitSeconds": 600.0}
