"""What OpenV's own rule allows and suggests, and what ours does, over a grid of what is left and what is asked for.

The oracle is OpenV's rule (``lib/user.ts`` of its web app) in other words, with its floats. Every length that can be
made is one of its steps, so nothing differs for a single request. What differs is what counts as left: here an
unfinished video is reserved, and one that failed is given back.
"""

import pytest

from streams.core.quota import LENGTHS, exceeds, fitting_frames

SECONDS = [frames / 24 for frames in range(7, 128, 6)]
HUNDREDTHS = [left / 100 for left in range(-50, 650)]  # OpenV keeps usage in hundredths of a second


def openv(left: float, asked: float) -> tuple[bool, int | None]:
    """(allowed, suggested frames)."""
    if left <= 0:
        return False, None
    fitting = [seconds for seconds in SECONDS if seconds <= left]
    beyond = [seconds for seconds in SECONDS if seconds > left]
    if not fitting:
        return (True, None) if asked == SECONDS[0] else (False, 7)
    longer = [seconds for seconds in SECONDS if seconds > asked]
    allowed = asked <= fitting[-1] or asked in beyond[:1] or any(seconds <= left for seconds in longer[:1])
    return allowed, None if allowed else round(fitting[-1] * 24)


def ours(left: float, asked: float) -> tuple[bool, int | None]:
    allowed = not exceeds(left, asked)
    return allowed, None if allowed else fitting_frames(left)


@pytest.mark.parametrize("frames", LENGTHS)
def test_every_length_is_allowed_and_suggested_as_openv_does(frames: int) -> None:
    asked = frames / 24
    left = [*HUNDREDTHS, *SECONDS, 60.0, 600.0]
    assert {one: ours(one, asked) for one in left} == {one: openv(one, asked) for one in left}


def test_the_grid_holds_every_kind_of_answer() -> None:
    answers = {openv(left, asked) for left in HUNDREDTHS for asked in SECONDS}
    assert {(True, None), (False, None), *((False, frames) for frames in LENGTHS[:-2])} == answers
