"""Sums over a user's jobs. Nothing here is stored anywhere, so nothing can drift from the documents.

``sums_of`` is the fold; ``Sums.after`` moves it along by one written document, to exactly what the fold would give, so
that a user with thousands of active jobs costs no more a command than one with three.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from math import fsum

from schemas.endpoints import EndpointId
from schemas.instants import Instant
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import ACTIVE
from streams.core.policy import counted_on

COUNTED = frozenset({ChargeState.RESERVED, ChargeState.CAPTURED})
Asked = EndpointId | None  # the endpoint whose own limits measure a run; None: the deployment's do


def charges(jobs: Iterable[Job]) -> Iterator[Charge]:
    """Every charge of every run, in whatever state."""
    for job in jobs:
        yield job.charge
        yield from job.earlier_charges


def counted(jobs: Iterable[Job]) -> Iterator[Charge]:
    """The charges that count against limits and credits: reserved or captured."""
    return (charge for charge in charges(jobs) if charge.state in COUNTED)


def used_seconds(counting: Iterable[Charge], start: int, end: int) -> float:
    """Seconds of video reserved or captured in ``start <= reserved_at < end``; exact whatever the order."""
    return fsum(charge.seconds for charge in counting if start <= charge.reserved_at < end)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a user's jobs come to. Activity and admissions are told apart by what they are counted with.

    ``active``: how many are queued or processing, whenever they were admitted. ``admitted``: when each run was, oldest
    first, given back or not: it is asking that is limited. ``charged``: by job, the charges that count and are of
    anything. ``changed_at``: the newest ``updated_at``.
    """

    active: Mapping[Asked, int] = field(default_factory=dict)
    admitted: Mapping[Asked, tuple[Instant, ...]] = field(default_factory=dict)
    charged: Mapping[str, tuple[Charge, ...]] = field(default_factory=dict)
    changed_at: Instant = 0

    def charges(self) -> Iterator[Charge]:
        """All that count and are of anything."""
        for of_job in self.charged.values():
            yield from of_job

    def admissions(self, asked: Asked, after: int) -> tuple[Instant, ...]:
        """When runs were admitted there after ``after`` (ms), oldest first."""
        times = self.admitted.get(asked, ())
        return times[bisect_right(times, after) :]

    def after(self, old: Job | None, new: Job) -> "Sums":
        """The sums with ``new`` in the place of ``old``, its document before (None: it had none)."""
        active, admitted, charged = self.active, self.admitted, self.charged
        was, now = _activity(old), _activity(new)
        if was != now:
            count = Counter(active)
            count.subtract(was)
            count.update(now)
            active = {asked: number for asked, number in count.items() if number}
        gone, come = _times(old), _times(new)
        if gone != come or (old is not None and counted_on(old) != counted_on(new)):
            admitted = _moved(admitted, old, gone, new, come)
        lost, won = () if old is None else _worth(old), _worth(new)
        if lost != won:
            charged = {job_id: worth for job_id, worth in charged.items() if job_id != new.job_id}
            if won:
                charged[new.job_id] = won
        return Sums(active, admitted, charged, max(self.changed_at, new.updated_at))


def sums_of(jobs: Iterable[Job]) -> Sums:
    """The fold over all of them."""
    active: Counter[Asked] = Counter()
    admitted: dict[Asked, list[Instant]] = {}
    charged: dict[str, tuple[Charge, ...]] = {}
    changed_at = 0
    for job in jobs:
        changed_at = max(changed_at, job.updated_at)
        active.update(_activity(job))
        times = _times(job)
        if times:
            admitted.setdefault(counted_on(job), []).extend(times)
        worth = _worth(job)
        if worth:
            charged[job.job_id] = worth
    return Sums(dict(active), {asked: tuple(sorted(times)) for asked, times in admitted.items()}, charged, changed_at)


def _activity(job: Job | None) -> tuple[Asked, ...]:
    return (counted_on(job),) if job is not None and job.state in ACTIVE else ()


def _times(job: Job | None) -> tuple[Instant, ...]:
    if job is None:
        return ()
    if not job.earlier_charges:
        return () if job.charge.state is ChargeState.NONE else (job.charge.reserved_at,)
    return tuple(sorted(charge.reserved_at for charge in charges((job,)) if charge.state is not ChargeState.NONE))


def _worth(job: Job) -> tuple[Charge, ...]:
    return tuple(charge for charge in counted((job,)) if charge.seconds or charge.credits)


def _moved(
    admitted: Mapping[Asked, tuple[Instant, ...]],
    old: Job | None,
    gone: tuple[Instant, ...],
    new: Job,
    come: tuple[Instant, ...],
) -> dict[Asked, tuple[Instant, ...]]:
    found = dict(admitted)
    if old is not None and gone:
        left = list(found.get(counted_on(old), ()))
        for at in gone:
            left.remove(at)
        found[counted_on(old)] = tuple(left)
    asked = counted_on(new)
    times = found.get(asked, ())
    latest = bool(come) and (not times or times[-1] <= come[0])
    found[asked] = times + come if latest else tuple(merge(times, come))
    return {one: times for one, times in found.items() if times}
