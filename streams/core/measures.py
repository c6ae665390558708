"""What one write of a job document adds to the numbers that operators watch: a function of the two documents.

A write happens once, however often its command is read, so that the numbers are right across redelivery; a process that
dies between the write and the count leaves one out.
"""

from dataclasses import dataclass

from schemas.jobs import AttemptEnd, ChargeState, Job
from schemas.lifecycle import ACTIVE, State

SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True)
class Measures:
    """``ended``: the state in which a run ended, and why. ``attempts``: how each ended that did by this write, and why.

    Milliseconds: ``waited`` from when the attempt might run to its start, ``ran`` from there to the end of the run,
    ``took`` from the submission to the end of the first run. Seconds of video: ``reserved``, ``charged``, ``refunded``.
    """

    admitted: bool = False
    ended: tuple[State, str] | None = None
    attempts: tuple[tuple[str, str], ...] = ()
    waited: int | None = None
    ran: int | None = None
    took: int | None = None
    reserved: float = 0.0
    charged: float = 0.0
    refunded: float = 0.0


def measures_of(before: Job | None, after: Job) -> Measures:
    """``before``: the document that the write replaced; None where there was none."""
    reserved, charged, refunded = _charges(before, after)
    ended = _ended(before, after)
    is_made = ended is not None and ended[0] is State.COMPLETED
    return Measures(
        admitted=after.state is State.QUEUED and _is_new(before, after),
        ended=ended,
        attempts=_attempts(before, after),
        waited=_waited(before, after),
        ran=_between(after.started_at, after.finished_at) if is_made else None,
        took=_between(after.created_at, after.finished_at) if is_made and after.run == 1 else None,
        reserved=reserved,
        charged=charged,
        refunded=refunded,
    )


def _is_new(before: Job | None, after: Job) -> bool:
    """A first run, another one, or one that was refused and asked for again."""
    return before is None or before.run != after.run or (before.state is State.REJECTED and after.state in ACTIVE)


def _ended(before: Job | None, after: Job) -> tuple[State, str] | None:
    if before is None:
        return (after.state, str(after.refusal.code)) if after.refusal is not None else None
    if before.state not in ACTIVE or after.state in ACTIVE:
        return None
    return after.state, str(after.failure.code) if after.failure is not None else ""


def _attempts(before: Job | None, after: Job) -> tuple[tuple[str, str], ...]:
    if before is None:
        return ()
    known = {one.attempt for one in before.earlier_attempts}
    fresh = [one for one in after.earlier_attempts if one.attempt not in known and one.end is not AttemptEnd.STOPPED]
    told = [(str(one.end), str(one.code or "")) for one in fresh]
    if before.state in ACTIVE and after.state is State.COMPLETED:
        told.append((SUCCEEDED, ""))
    elif before.state is State.PROCESSING and after.state in (State.CANCELLED, State.TIMED_OUT, State.DELETED):
        told.append((str(AttemptEnd.STOPPED), str(after.failure.code) if after.failure else ""))
    return tuple(told)


def _waited(before: Job | None, after: Job) -> int | None:
    if before is None or before.state is not State.QUEUED or after.state is not State.PROCESSING:
        return None
    return _between(before.due_at, after.started_at)


def _charges(before: Job | None, after: Job) -> tuple[float, float, float]:
    """Reserved by this write, charged for good, given back."""
    if before is None or _is_new(before, after):
        return (after.charge.seconds if after.charge.state is ChargeState.RESERVED else 0.0), 0.0, 0.0
    was = before.charge
    if was.state is not ChargeState.RESERVED or after.charge.state is ChargeState.RESERVED:
        return 0.0, 0.0, 0.0
    charged = after.charge.seconds if after.charge.state is ChargeState.CAPTURED else 0.0
    return 0.0, charged, max(0.0, was.seconds - charged)


def _between(start: int | None, end: int | None) -> int | None:
    return max(0, end - start) if start is not None and end is not None else None
