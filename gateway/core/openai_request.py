"""From a body of ``POST /v1/videos`` to the request that will be made, or the one thing that is wrong with it.

OpenAI's sizes become the nearest that Mochi makes, other sizes inside its limits are rounded down to multiples of 16
pixels; a length becomes the nearest of 6n+1 frames at 24 a second. What would change the picture and can't be done is
refused, a member that nobody knows is ignored.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from gateway.core.field_words import range_words, words
from schemas.api.openai import SECONDS_DEFAULT, SIZE_DEFAULT, CreateVideo
from schemas.requests import FPS, FRAME_STEP, LIMITS, MODEL, SEED_MAX, GenerationRequest, whole_frames, whole_pixels

SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "1280x720": (848, 480),
        "1792x1024": (848, 480),
        "720x1280": (480, 848),
        "1024x1792": (480, 848),
    }
)
# What OpenAI's, vLLM-Omni's and SGLang's clients may send that Mochi, or OpenV, can't do.
UNSUPPORTED = frozenset(
    {
        "input_reference", "image_reference", "video_reference", "lora", "extra_params", "video_params",
        "guidance_scale_2", "boundary_ratio", "flow_shift", "true_cfg_scale", "generate_sound", "sound_duration",
        "enable_frame_interpolation",
    }
)  # fmt: skip
NO_REFERENCES = "is not supported: Mochi makes videos from words alone."
_FIELDS = MappingProxyType({"num_inference_steps": "steps", "guidance_scale": "cfg"})
_FEWEST, _MOST = int(LIMITS["num_frames"].least), int(LIMITS["num_frames"].most)
_SECONDS_WORDS = (
    f"must be from {_FEWEST / FPS:.1f} to {_MOST / FPS:.1f}: this model makes {_FEWEST} to {_MOST} frames at {FPS} a "
    "second; num_frames asks for an exact length"
)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong: about which member, in words for its author. ``unknown_model``: it asked for another model."""

    param: str | None
    words: str
    unknown_model: bool = False


def video_request(body: Any, job_id: str, models: Collection[str]) -> GenerationRequest | Wrong:
    """The request for this body. ``models``: other names of Mochi. The seed, if none is given, follows from the job's
    id, so that a repeat under the same ``Idempotency-Key`` is the same request."""
    if not isinstance(body, Mapping):
        return Wrong(None, "The body must be a JSON object or a form.")
    given = {name: value for name, value in body.items() if value is not None}
    model = given.get("model", MODEL)
    if isinstance(model, str) and model != MODEL and model not in models:
        return Wrong("model", f"The model {model[:100]!r} does not exist; GET /v1/models lists those that do.", True)
    unsupported = _unsupported(given)
    if unsupported is not None:
        return unsupported
    try:
        read = CreateVideo.model_validate(given)
    except ValidationError as error:
        return _wrong(error)
    size, frames = _size(read), _frames(read)
    if isinstance(size, Wrong):
        return size
    if isinstance(frames, Wrong):
        return frames
    return GenerationRequest(
        prompt=read.prompt.strip(),
        negative_prompt=read.negative_prompt.strip(),
        width=whole_pixels(size[0]),
        height=whole_pixels(size[1]),
        num_frames=frames,
        steps=read.num_inference_steps if read.num_inference_steps is not None else int(LIMITS["steps"].default),
        cfg=read.guidance_scale if read.guidance_scale is not None else LIMITS["cfg"].default,
        seed=read.seed if read.seed is not None else _seed_of(job_id),
    )


def _unsupported(given: Mapping[str, Any]) -> Wrong | None:
    """The first member that asks for what can't be done; of a form, ``lora[name]`` is a member of ``lora``."""
    for name, value in given.items():
        member = name.partition("[")[0]
        if member in UNSUPPORTED and value and value not in ("false", "{}", "[]"):
            what = NO_REFERENCES if member.endswith("_reference") else "is not supported: leave it out."
            return Wrong(member, f"{member} {what}")
    return None


def _size(read: CreateVideo) -> tuple[int, int] | Wrong:
    least, most = LIMITS["width"].least, LIMITS["width"].most
    if read.size is None and (read.width is not None or read.height is not None):
        return read.width or int(LIMITS["width"].default), read.height or int(LIMITS["height"].default)
    asked = read.size or SIZE_DEFAULT
    if asked in SIZES:
        return SIZES[asked]
    width, height = map(int, asked.split("x"))
    if least <= width <= most and least <= height <= most:
        return width, height
    named = ", ".join(SIZES)
    return Wrong("size", f"size must be one of {named}, or WIDTHxHEIGHT with {least:g} to {most:g} pixels each way.")


def _frames(read: CreateVideo) -> int | Wrong:
    """The length in frames: as many as asked for, rounded down as everywhere, or those nearest to the seconds."""
    if read.num_frames is not None:
        return whole_frames(read.num_frames)
    seconds = read.seconds if read.seconds is not None else SECONDS_DEFAULT
    nearest = FRAME_STEP * round((seconds * FPS - 1) / FRAME_STEP) + 1
    if _FEWEST <= nearest <= _MOST:
        return nearest
    return Wrong("seconds", f"seconds {_SECONDS_WORDS}.")


def _seed_of(job_id: str) -> int:
    return int.from_bytes(blake2b(job_id.encode(), digest_size=4).digest()) & SEED_MAX


def _wrong(error: ValidationError) -> Wrong:
    """The first thing that pydantic found, without the value."""
    one = error.errors(include_url=False, include_input=False)[0]
    member = str(one["loc"][0]) if one["loc"] else None
    return Wrong(member, f"{member or 'The body'} {words(one['type'], one.get('ctx', {}), _own_words(member))}.")


def _own_words(member: str | None) -> str | None:
    """What this member may be."""
    if member == "size":
        return "must be like 848x480"
    if member == "fps":
        return f"must be {FPS}"
    if member == "seconds":
        return _SECONDS_WORDS
    return range_words(_FIELDS.get(member or "", member or ""))
