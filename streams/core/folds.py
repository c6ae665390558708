"""Sums over a user's jobs. Nothing here is stored anywhere, so nothing can drift from the documents."""

from collections.abc import Iterable, Iterator, Mapping
from math import fsum

from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import ACTIVE
from streams.core.effects import UserView

COUNTED = frozenset({ChargeState.RESERVED, ChargeState.CAPTURED})


def own_jobs(view: UserView) -> dict[str, Job]:
    """The user's jobs with pending ones in their place. A foreign job that a command named is left out."""
    return {job_id: job for job_id, job in view.overlaid().items() if job.user_id == view.account.user_id}


def charges(jobs: Mapping[str, Job]) -> Iterator[Charge]:
    """Every charge of every run, in whatever state."""
    for job in jobs.values():
        yield job.charge
        yield from job.earlier_charges


def counted(jobs: Mapping[str, Job]) -> Iterator[Charge]:
    """The charges that count against limits and credits: reserved or captured."""
    return (charge for charge in charges(jobs) if charge.state in COUNTED)


def used_seconds(counting: Iterable[Charge], start: int, end: int) -> float:
    """Seconds of video reserved or captured in ``start <= reserved_at < end``; exact whatever the order."""
    return fsum(charge.seconds for charge in counting if start <= charge.reserved_at < end)


def active(jobs: Mapping[str, Job]) -> int:
    """Jobs that are queued or processing, whenever they were admitted."""
    return sum(1 for job in jobs.values() if job.state in ACTIVE)


def admissions(jobs: Mapping[str, Job], after: int) -> list[int]:
    """When runs were admitted after ``after`` (ms), oldest first. Given back or not: it is asking that is limited."""
    return sorted(c.reserved_at for c in charges(jobs) if c.state is not ChargeState.NONE and c.reserved_at > after)
