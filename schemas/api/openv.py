"""OpenV's HTTP bodies: what its web clients send to ``/api/runpod`` and ``/api/videos``, and what answers add.

``POST /api/runpod`` takes two forms. A body with a member ``input`` is OpenV's own, as its page sends it
(``OriginalBody``): everything but the prompt and the model is read from ``input``, nothing is left out but
``negative_prompt``, and its members are the only ones that count. Any other body is the flat form (``GenerateBody``),
where all but the prompt may be left out.

Limits, defaults and member names are OpenV's (its documents and its client, model ``mochi-1``). Choices made here:
members that are unknown are ignored (as its own validator does), in the flat form ``null`` reads as left out, a number
must be a JSON number (``"31"`` is refused, ``31.0`` is 31). A character is a code point; OpenV counted UTF-16 units.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.jobs import Remaining
from schemas.requests import LIMITS, MODEL, PROMPT_MAX
from schemas.shape import shape

JOB_IDS_MAX = 1_000


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 31.0 is 31."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def readable(text: str) -> str:
    """U+0000 ends a text for many programs and libraries: what came after it would be made by some, not by others."""
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def _known_model(name: str) -> str:
    if name != MODEL:
        raise ValueError(f"must be {MODEL}")
    return name


def _whole_within(name: str) -> Any:
    bounds = LIMITS[name]
    return Field(
        default=int(bounds.default),
        ge=int(bounds.least),
        le=int(bounds.most),
        validation_alias=AliasChoices(name, "numFrames") if name == "num_frames" else None,
    )


Whole = Annotated[int, BeforeValidator(_whole)]


class GenerateBody(BaseModel):
    """``POST /api/runpod``. Sizes in pixels, ``cfg`` the guidance scale, ``num_frames`` of the finished video."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    prompt: Annotated[str, AfterValidator(not_blank), AfterValidator(readable)] = Field(
        max_length=PROMPT_MAX, validation_alias=AliasChoices("prompt", "positive_prompt", "positivePrompt")
    )
    negative_prompt: Annotated[str, AfterValidator(readable)] = Field(
        default="", max_length=PROMPT_MAX, validation_alias=AliasChoices("negative_prompt", "negativePrompt")
    )
    width: Whole = _whole_within("width")
    height: Whole = _whole_within("height")
    num_frames: Whole = _whole_within("num_frames")
    steps: Whole = _whole_within("steps")
    cfg: float = Field(default=LIMITS["cfg"].default, ge=LIMITS["cfg"].least, le=LIMITS["cfg"].most)
    seed: Whole = _whole_within("seed")
    model: Annotated[str, AfterValidator(_known_model)] = Field(
        default=MODEL, validation_alias=AliasChoices("model", "modelName")
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, body: Any) -> Any:
        if isinstance(body, Mapping):
            return {name: value for name, value in body.items() if value is not None}
        return body


# The name under which a field's error is reported, whichever spelling the client used.
FIELD_OF_ALIAS: Mapping[str, str] = MappingProxyType(
    {
        "positive_prompt": "prompt",
        "positivePrompt": "prompt",
        "negativePrompt": "negative_prompt",
        "numFrames": "num_frames",
        "modelName": "model",
    }
)


def _required_whole(name: str) -> Any:
    return Field(ge=int(LIMITS[name].least), le=int(LIMITS[name].most))


PromptOf = Annotated[str, Field(min_length=1, max_length=PROMPT_MAX), AfterValidator(readable)]


class OriginalInput(BaseModel):
    """``input`` of the original form, in the order in which OpenV looks at its members."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    positive_prompt: PromptOf
    negative_prompt: Annotated[str, Field(max_length=PROMPT_MAX), AfterValidator(readable)] = ""
    width: Whole = _required_whole("width")
    height: Whole = _required_whole("height")
    steps: Whole = _required_whole("steps")
    cfg: float = Field(ge=LIMITS["cfg"].least, le=LIMITS["cfg"].most)
    num_frames: Whole = _required_whole("num_frames")
    seed: Whole = _required_whole("seed")


class OriginalBody(BaseModel):
    """The original form. ``prompt`` is what is made; ``positive_prompt`` must be there too, and is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model: Literal["mochi-1"] = Field(validation_alias="modelName")
    prompt: PromptOf
    input: OriginalInput


class DeleteBody(BaseModel):
    """``DELETE /api/videos``. Ids that are nobody's, or no ids at all, change nothing."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    job_ids: list[str] = Field(alias="jobIds", max_length=JOB_IDS_MAX)


@shape
class FieldError:
    """One line of ``{"error":"Validation failed","details":[…]}``."""

    field: str
    message: str


@shape
class MonthlyQuota:
    """Seconds of video, rounded to two decimals: left, used or reserved, and the limit of the running period."""

    remaining_seconds: float
    current_usage: float
    limit_seconds: float


def monthly_quota(remaining: Remaining) -> MonthlyQuota:
    """The ledger's sums in OpenV's words."""
    return MonthlyQuota(
        remaining_seconds=round(remaining.remaining_seconds, 2),
        current_usage=round(remaining.used_seconds, 2),
        limit_seconds=round(remaining.limit_seconds, 2),
    )
