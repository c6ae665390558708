"""How far an attempt is: a fraction over all phases that never falls, the time that is left, and what is worth showing.

The phases' weights are their share of a typical attempt's time. They only shape the bar; the time left comes from the
pace of this attempt's own denoising steps, and the weights say what follows after them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from types import MappingProxyType

from inference_worker.core.limits import Limits
from schemas.phases import Phase

P = Phase
WEIGHTS: Mapping[Phase, float] = MappingProxyType(
    {P.LOAD: 0.02, P.ENCODE_PROMPT: 0.02, P.DENOISE: 0.74, P.DECODE: 0.14, P.ENCODE: 0.04, P.UPLOAD: 0.04}
)
ORDER = tuple(WEIGHTS)
_STARTS = dict(zip(ORDER, accumulate(WEIGHTS.values(), initial=0.0), strict=False))


@dataclass(frozen=True, slots=True)
class Track:
    """What is known of one attempt's progress. Times are milliseconds of the worker's clock."""

    began_at: int
    phase: Phase | None = None
    step: int = 0
    fraction: float = 0.0
    eta_ms: int | None = None
    first_step_ms: int = 0  # the first step also warms caches up: it says nothing of the pace
    denoise_ms: float | None = None  # how long the whole denoising takes, as far as can be told
    shown_at: int | None = None
    previewed_at: int | None = None


def advanced(
    track: Track, phase: Phase, step: int, steps: int, phase_ms: int, now: int, limits: Limits
) -> tuple[Track, bool]:
    """After ``step`` of ``steps`` of a phase that began ``phase_ms`` ago; and whether watchers should hear of it.

    They hear of a new phase and of a phase's last step always, of steps in between a few times a second.
    """
    new_phase = phase is not track.phase
    if step == 1:
        track = replace(track, first_step_ms=phase_ms)
    if phase is P.DENOISE and step:
        track = replace(track, denoise_ms=_whole(track, step, steps, phase_ms))
    done = min(1.0, max(0.0, step / steps)) if steps > 0 else 0.0
    fraction = max(track.fraction, min(1.0, round(_STARTS[phase] + WEIGHTS[phase] * done, 4)))
    eta_ms = _left(track, phase, step, steps, phase_ms)
    due = track.shown_at is None or now - track.shown_at >= limits.progress_ms
    shown = new_phase or due or (step >= steps and step != track.step)
    track = replace(track, phase=phase, step=step, fraction=fraction, eta_ms=eta_ms)
    return (replace(track, shown_at=now) if shown else track), shown


def previewed(track: Track, now: int, limits: Limits) -> tuple[Track, bool]:
    """Whether watchers should get a preview that came now: one a second."""
    if track.previewed_at is not None and now - track.previewed_at < limits.preview_ms:
        return track, False
    return replace(track, previewed_at=now), True


def _whole(track: Track, step: int, steps: int, phase_ms: int) -> float:
    """How long a phase of even steps takes, from how long its first ``step`` steps took."""
    if step == 1:
        return float(phase_ms * steps)
    return track.first_step_ms + (phase_ms - track.first_step_ms) / (step - 1) * (steps - 1)


def _left(track: Track, phase: Phase, step: int, steps: int, phase_ms: int) -> int | None:
    """Milliseconds to the end of the attempt; None while nothing is known of this attempt's pace."""
    if track.denoise_ms is None:
        return None
    per_weight = track.denoise_ms / WEIGHTS[P.DENOISE]
    whole = _whole(track, step, steps, phase_ms) if step else WEIGHTS[phase] * per_weight
    later = sum(WEIGHTS[one] for one in ORDER[ORDER.index(phase) + 1 :])
    return max(0, round(max(0.0, whole - phase_ms) + later * per_weight))
