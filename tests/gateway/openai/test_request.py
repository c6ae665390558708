"""What a body of ``POST /v1/videos`` asks for, and every way in which it is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.openai_request import UNSUPPORTED, Wrong, video_request
from schemas.api.openai import CreateVideo
from schemas.requests import LIMITS, PROMPT_TEXT_MAX, SEED_MAX, GenerationRequest

JOB = "6f1c2a52-3f0e-4e0c-9f5e-2c8c6f1d7a10"
MODELS = ("sora-2", "sora-2-pro")


def made(**body: Any) -> GenerationRequest:
    request = video_request({"prompt": "a corgi", **body}, JOB, MODELS)
    assert isinstance(request, GenerationRequest), request
    return request


def wrong(**body: Any) -> Wrong:
    found = video_request({"prompt": "a corgi", **body}, JOB, MODELS)
    assert isinstance(found, Wrong), found
    return found


def test_what_is_left_out_is_what_openai_takes() -> None:
    request = made()
    assert (request.width, request.height) == (480, 848)
    assert (request.num_frames, request.fps) == (97, 24)
    assert (request.model, request.steps, request.cfg, request.negative_prompt) == ("mochi-1", 40, 6.0, "")


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ("1280x720", (848, 480)),
        ("1792x1024", (848, 480)),
        ("720x1280", (480, 848)),
        ("1024x1792", (480, 848)),
        ("848x480", (848, 480)),
        ("399x640", (384, 640)),
        ("0848x00480", None),
        ("383x480", None),
        ("849x480", None),
        ("1920x1080", None),
        ("99999x99999", None),
        ("848X480", None),
        ("848x480 ", None),
        ("٨٤٨x480", None),
        (848, None),
    ],
)
def test_sizes(size: Any, wanted: tuple[int, int] | None) -> None:
    if wanted is None and size != "0848x00480":
        assert wrong(size=size).param == "size"
    else:
        request = made(size=size)
        assert (request.width, request.height) == (wanted or (848, 480))


def test_a_size_that_can_not_be_made_is_told_what_can() -> None:
    words = wrong(size="1920x1080").words
    assert "1280x720" in words
    assert "384 to 848" in words


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [("4", 97), (4, 97), (4.0, 97), ("1", 25), ("2", 49), ("5", 121), ("5.3", 127), ("0.3", 7), ("5.29", 127)],
)
def test_seconds_become_the_nearest_length(seconds: Any, frames: int) -> None:
    request = made(seconds=seconds)
    assert request.num_frames == frames
    nearer = [n for n in range(7, 128, 6) if abs(n - float(seconds) * 24) < abs(frames - float(seconds) * 24)]
    assert nearer == []


@pytest.mark.parametrize(
    "seconds", ["8", "12", 8, "0", 0, "-4", "5.5", "0.1", 1e308, "1e3", "inf", "nan", "four", "4s", "٤", True, [], {}]
)
def test_seconds_that_can_not_be_made_are_told_what_can(seconds: Any) -> None:
    found = wrong(seconds=seconds)
    assert found.param == "seconds"
    assert "from 0.3 to 5.3" in found.words
    assert "num_frames" in found.words


def test_what_vllm_omni_knows_counts() -> None:
    request = made(
        width=400, height="640", num_frames="30", num_inference_steps=10.0, guidance_scale="4.5", seed="7",
        negative_prompt=" blurry ", fps="24", user="u-1", seconds="8",
    )  # fmt: skip
    assert (request.width, request.height, request.num_frames) == (400, 640, 25)
    assert (request.steps, request.cfg, request.seed, request.negative_prompt) == (10, 4.5, 7, "blurry")
    assert (made(width=640).width, made(width=640).height) == (640, 480)
    assert made(size="1280x720", width=400).width == 848


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("width", 100), ("height", 849), ("num_frames", 6), ("num_frames", "7.5"), ("num_inference_steps", 9),
        ("guidance_scale", 0), ("guidance_scale", "1e1"), ("seed", -1), ("seed", SEED_MAX + 1), ("seed", "9" * 5000),
        ("seed", True), ("fps", 30), ("negative_prompt", 5), ("prompt", "  "), ("prompt", ""), ("prompt", 5),
        ("prompt", "a\0b"), ("negative_prompt", "\0"), ("prompt", "x" * (PROMPT_TEXT_MAX + 1)), ("user", {}),
        ("model", 5), ("model", "sora-3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_about_the_member_and_never_repeats_it(member: str, value: Any) -> None:
    found = wrong(**{member: value})
    assert found.param == member
    assert found.unknown_model is (value == "sora-3")
    if member != "model":
        assert str(value)[:50] not in found.words or str(value) in ("", "  ", "0", "5", "6", "7.5")


def test_a_body_that_is_none_and_one_without_a_prompt() -> None:
    for body in (None, [], "text", 5):
        assert isinstance(video_request(body, JOB, MODELS), Wrong)
    assert video_request({}, JOB, MODELS) == Wrong("prompt", "prompt is required.")
    assert video_request({"prompt": None}, JOB, MODELS) == Wrong("prompt", "prompt is required.")


@pytest.mark.parametrize("member", sorted(UNSUPPORTED))
def test_what_mochi_can_not_do_is_refused_and_its_absence_is_not(member: str) -> None:
    assert wrong(**{member: {"a": 1}}).param == member
    assert wrong(**{f"{member}[name]": "x"}).param == member
    for nothing in (None, "", False, {}, [], "false"):
        made(**{member: nothing})


def test_other_names_of_mochi_make_mochi_and_what_nobody_knows_is_ignored() -> None:
    assert made(model="sora-2-pro", quality="high", n=3).model == "mochi-1"
    assert made(model=None).model == "mochi-1"


def test_every_video_has_a_seed_of_its_own_and_a_repeat_has_the_same() -> None:
    body = {"prompt": "a corgi"}
    first, again = (video_request(body, JOB, MODELS) for _ in range(2))
    assert first == again
    seeds = {video_request(body, f"{JOB[:-4]}{n:04}", MODELS).seed for n in range(50)}  # type: ignore[union-attr]
    assert len(seeds) == 50
    assert all(0 <= seed <= SEED_MAX for seed in seeds)


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("4"), st.just("848x480"),
    st.integers(0, 900), st.lists(st.integers(), max_size=2), st.dictionaries(st.just("a"), st.none(), max_size=1),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*CreateVideo.model_fields, "lora", "x[y]"]), anything), st.booleans())
def test_whatever_is_sent_is_made_within_the_limits_or_refused_with_words(body: dict[str, Any], prompted: bool) -> None:
    found = video_request(body | {"prompt": "a corgi"} if prompted else body, JOB, MODELS)
    if isinstance(found, Wrong):
        assert found.words
        assert len(found.words) < 400
        return
    for name in LIMITS:
        assert LIMITS[name].least <= getattr(found, name) <= LIMITS[name].most
    assert (found.width % 16, found.height % 16, found.num_frames % 6) == (0, 0, 1)
