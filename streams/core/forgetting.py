"""When a job's document may go for good, and why that makes no work.

Documents are what makes repetitions harmless: the same submission, read again, meets the job that it made. Without the
document it would make another. So one may go only when no submission that names its job can be decided afresh any more:

1. ``RECORD_LIVES_MS`` is the longest that a record can lie in our topics: in ``openv.commands`` until its segment goes,
   set aside at the last moment, and in ``openv.deadletter`` until that segment goes. Redriven or replayed, from there
   or from a file, however often, a record tells when it was recorded at first; after this time the ledger decides a
   submission without a document no more (``is_over``). A copy that lost those headers has a new time, which is after
   the ``append_by`` in its value. Either is refused as too late, and nothing is written.
2. A client may send a submission again, with the key of a job that was deleted or refused long ago. It meets the
   document, and whenever that was not written for ``RENEWED_AFTER_MS``, the ledger writes it again (``is_renewed``). So
   every submission that named the job was recorded before ``updated_at + RENEWED_AFTER_MS``.
3. ``LEAST_MS`` is more than the sum of the two. A document that was not written for that long goes; by then every
   submission that named it is over.

All other commands find no job, and say so. What still counts for its user is kept, however old (``counts_still``), and
so is what the account still holds as pending: the ledger would store that copy again, as if it had crashed midway.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import COMMANDS, DAY, DEADLETTER, Topic
from streams.core.folds import COUNTED, charges

RENEWED_AFTER_MS = DAY
PERIOD_OVER_MS = 35 * DAY  # after the end of the period: an operator may yet look into what was charged


def _lives_ms(topic: Topic) -> int:
    """A record goes with its segment, which is closed a while after its first record."""
    return topic.retention_ms + int(topic.config()["segment.ms"])


RECORD_LIVES_MS = _lives_ms(COMMANDS) + _lives_ms(DEADLETTER)
LEAST_DAYS = (RECORD_LIVES_MS + RENEWED_AFTER_MS) // DAY + 1
LEAST_MS = LEAST_DAYS * DAY


class Verdict(StrEnum):
    KEPT = "kept"
    DELETED = "deleted"  # by a command to the ledger, as its user would; the bare document stays
    REMOVED = "removed"  # the bare document as well


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, in ms; None: for ever. ``period_start``: of the running accounting period."""

    videos_ms: int | None
    tombstones_ms: int | None
    rejected_ms: int | None
    period_start: int


@dataclass(frozen=True, slots=True)
class Kept:
    """How long everything is kept: jobs by their ``terms`` at a time (ms), the others in ms; None: for ever.

    ``uploads_ms``: what clients gave that no job refers to; ``keys_ms``: sessions and one-time keys after they expired;
    ``aged_ms``: what operators did: plans of replays, what became of dead letters.
    """

    terms: Callable[[int], Terms]
    uploads_ms: int | None = None
    keys_ms: int | None = None
    aged_ms: int | None = None


# Videos of ours that have ended. What is refused, and what external workers ran, goes by other rules.
_ENDED: Mapping[State, bool] = MappingProxyType(
    {state: state in (State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT) for state in State}
)


def is_over(recorded_at: int, now: int) -> bool:
    """Whether a submission was recorded so long ago that its job's document may be gone: it makes no job any more."""
    return now - recorded_at > RECORD_LIVES_MS


def is_renewed(job: Job, recorded_at: int) -> bool:
    """Whether the document that a submission meets is to be written again, so that it outlives that record."""
    return job.state in (State.DELETED, State.REJECTED) and recorded_at - job.updated_at > RENEWED_AFTER_MS


def verdict(job: Job, terms: Terms, now: int) -> Verdict:
    """What is to become of a job."""
    if _ENDED[job.state] and not job.external and _older(job.finished_at, terms.videos_ms, now):
        return Verdict.DELETED
    # One of an endpoint is deleted before, by a command: its input may lie in the object store.
    if job.state is State.REJECTED and job.endpoint is None and _older(job.updated_at, terms.rejected_ms, now):
        return Verdict.REMOVED
    if job.state is State.DELETED and _older(job.updated_at, terms.tombstones_ms, now):
        return Verdict.KEPT if counts_still(job, terms.period_start) else Verdict.REMOVED
    return Verdict.KEPT


def counts_still(job: Job, period_start: int) -> bool:
    """Whether it still is part of what its user has used. Credits are, for ever: their balance is a sum over jobs."""
    counting = [charge for charge in charges((job,)) if charge.state in COUNTED]
    since = period_start - PERIOD_OVER_MS
    return any(charge.credits or (charge.seconds and charge.reserved_at >= since) for charge in counting)


def _older(at: int | None, kept_ms: int | None, now: int) -> bool:
    return at is not None and kept_ms is not None and at <= now - kept_ms
