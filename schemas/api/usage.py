"""``GET /api/usage``: where the caller stands in the running period, and what a request's fields may be.

Members shared with ``monthlyQuota`` are called as there. Seconds of video, counts, credits; instants as RFC 3339.
"""

from collections.abc import Mapping

from schemas.instants import Instant
from schemas.jobs import Remaining
from schemas.requests import FPS, FRAME_STEP, LIMITS, PROMPT_MAX, SIZE_STEP
from schemas.shape import shape


@shape
class FieldLimits:
    """An inclusive range, the value taken when the field is left out, and where values are rounded down: ``step``
    counts from ``least``. Of a text: ``most`` characters."""

    most: float
    least: float | None = None
    default: float | None = None
    step: int | None = None


@shape
class Usage:
    """``suggestedFrames``: the longest video that still fits, absent where none does. ``fps`` turns frames into the
    seconds that are charged. ``limits`` by the fields of ``POST /api/runpod``."""

    limit_seconds: float
    used_seconds: float
    remaining_seconds: float
    period_start: Instant
    period_end: Instant | None
    active: int
    max_active: int
    credits: float
    suggested_frames: int | None
    fps: int
    limits: Mapping[str, FieldLimits]


_STEPS = {"width": SIZE_STEP, "height": SIZE_STEP, "num_frames": FRAME_STEP, "steps": 1, "seed": 1}
FIELDS: Mapping[str, FieldLimits] = {
    "prompt": FieldLimits(most=PROMPT_MAX),
    "negative_prompt": FieldLimits(most=PROMPT_MAX),
    **{
        name: FieldLimits(least=bounds.least, most=bounds.most, default=bounds.default, step=_STEPS.get(name))
        for name, bounds in LIMITS.items()
    },
}


def usage_of(remaining: Remaining) -> Usage:
    """The ledger's sums as they are, with the limits of the model."""
    return Usage(
        limit_seconds=remaining.limit_seconds,
        used_seconds=remaining.used_seconds,
        remaining_seconds=remaining.remaining_seconds,
        period_start=remaining.period_start,
        period_end=remaining.period_end,
        active=remaining.active,
        max_active=remaining.max_active,
        credits=remaining.credits,
        suggested_frames=remaining.suggested_frames,
        fps=FPS,
        limits=FIELDS,
    )
