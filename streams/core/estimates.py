"""How large a request is, and how long requests of its shape took here: what places in the queue are timed with.

A diffusion transformer's time grows with denoising steps times latent volume; requests within a quarter octave
(about 9 % either way) of that product share one moving average.
"""

from collections.abc import Mapping
from math import log2

from schemas.requests import LIMITS, GenerationRequest

SHAPES_KEPT = 64
NEWEST_WEIGHT = 0.3
_EXTERNAL = "external"
_DEFAULT = LIMITS["num_frames"].default * LIMITS["steps"].default * LIMITS["width"].default * LIMITS["height"].default


def work_of(request: GenerationRequest) -> float:
    """The size of a request, in default requests: frames × steps × pixels. An external worker's input counts as one."""
    if request.input is not None or request.input_key is not None:
        return 1.0
    return max(request.num_frames * request.steps * request.width * request.height / _DEFAULT, 1e-6)


def shape_of(request: GenerationRequest) -> str:
    """Requests of one shape are expected to take one time."""
    if request.input is not None or request.input_key is not None:
        return _EXTERNAL
    return str(round(4 * log2(work_of(request))))


def learned(durations: Mapping[str, float], shape: str, took_ms: int) -> dict[str, float]:
    """``durations`` (ms by shape) after one more finished job; the shapes seen last are kept."""
    kept = dict(durations)
    before = kept.pop(shape, None)
    kept[shape] = float(took_ms) if before is None else before + NEWEST_WEIGHT * (took_ms - before)
    while len(kept) > SHAPES_KEPT:
        del kept[next(iter(kept))]
    return kept


def expected_ms(durations: Mapping[str, float], shape: str) -> float | None:
    """How long a job of this shape takes: its own average, else that of all shapes, else None (nothing finished)."""
    if shape in durations:
        return durations[shape]
    return sum(durations.values()) / len(durations) if durations else None
