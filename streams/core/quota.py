"""OpenV's quota: seconds of video in a period, and where a user stands in it.

The period is the calendar month in UTC. With a limit window: from its start to its end, the last instant included,
usage counts from the start, across month ends; after it from then, until the next month begins. So usage begins anew
once on entry and once after the end, as in OpenV. A charge belongs to the period that its ``reserved_at`` lies in.

What is allowed is OpenV's too: up to the first of its lengths that reaches past what is left, so that the last video
may be a step too long, and the shortest one as long as anything is left. Where this differs, on purpose: OpenV counts
after it has submitted, and for ever; here an admission reserves, and what comes to no video is given back. OpenV
rounds every charge to hundredths; here sums are exact, and rounded when shown. OpenV denies a length between two steps
where it allows the longer step; here whatever is shorter than an allowed length is allowed. What is left is never
shown below nothing.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from schemas.instants import from_datetime, to_datetime
from schemas.jobs import Charge, Remaining
from schemas.requests import FPS, FRAME_STEP, LIMITS
from streams.core.credits import balance
from streams.core.effects import UserView
from streams.core.folds import used_seconds
from streams.core.policy import DEPLOYMENT, Policy, Scope, limits_of

TINY = 1e-9  # seconds: below what a frame lasts, above what a sum of floats gathers
LENGTHS = range(int(LIMITS["num_frames"].least), int(LIMITS["num_frames"].most) + 1, FRAME_STEP)


def month_of(now: int) -> tuple[int, int]:
    """Start and end (exclusive) of the calendar month in UTC that holds ``now``; all in ms."""
    moment = to_datetime(now)
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return from_datetime(first), from_datetime(following)


def period_of(policy: Policy, now: int) -> tuple[int, int]:
    """Start and end (exclusive) of the period that holds ``now``; all in ms."""
    month_start, month_end = month_of(now)
    window = policy.window()
    if window is None:
        return month_start, month_end
    start, end = window
    if now < start:
        return month_start, min(month_end, start)
    if now <= end:
        return start, end + 1
    return max(end + 1, month_start), month_end


def used_of(counting: Iterable[Charge], policy: Policy, now: int) -> float:
    """Seconds of video used or reserved in the period that holds ``now``, exact."""
    return used_seconds(counting, *period_of(policy, now))


def exceeds(left: float, seconds: float) -> bool:
    """Whether a video of this length is too long for what is left: nothing is left, or it is longer than the first
    of the lengths that reaches past it.

    Lengths are measured at the model's 24 frames a second, so that a slow frame rate does not buy a larger step.
    """
    if left <= TINY:
        return True
    return seconds > left + TINY and seconds > _first_past(left) / FPS + TINY


def fitting_frames(left: float) -> int | None:
    """What is suggested: the longest of OpenV's lengths (7, 13, … 127 frames) that fits into these seconds, or the
    shortest where that alone is allowed; None where nothing is left."""
    if left <= TINY:
        return None
    return max((frames for frames in LENGTHS if frames / FPS <= left + TINY), default=LENGTHS[0])


def _first_past(left: float) -> int:
    """In frames. Other surfaces allow videos beyond OpenV's longest: the steps go on."""
    steps = math.floor(((left + TINY) * FPS - LENGTHS[0]) / FRAME_STEP) + 1
    return LENGTHS[0] + FRAME_STEP * max(0, steps)


def remaining(view: UserView, policy: Policy, now: int, scope: Scope = DEPLOYMENT) -> Remaining:
    """Where a user stands, as people are shown it: usage to two decimals, as OpenV rounds it."""
    sums = view.sums
    limits = limits_of(view.account, policy, scope)
    start, end = period_of(policy, now)
    exact = used_of(sums.charges(), policy, now)
    used = round(exact, 2)
    return Remaining(
        limit_seconds=limits.seconds,
        used_seconds=used,
        remaining_seconds=max(0.0, round(limits.seconds - used, 2)),
        period_start=start,
        period_end=end,
        active=sums.active.get(scope.endpoint, 0),
        max_active=limits.max_active,
        credits=balance(view.account.grants, sums.charges(), now),
        suggested_frames=fitting_frames(limits.seconds - exact),
    )
