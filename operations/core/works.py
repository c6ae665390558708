"""A long work from state to state: who may take it, and what becomes of one whose holder is gone. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from schemas.works import TRANSITIONS, UNFINISHED, Work, WorkFact, WorkState

LEASE_MS = 30_000
TRIES_MAX = 5
INTERRUPTED = "The process that did this ended before it was done; look at what is, and ask again."
TOO_OFTEN = "Every process that began this ended before it was done; look at their logs."


def taken(work: Work, holder: str, now: int, *, resumable: bool, gone: bool = False) -> Work | None:
    """The next version: held by ``holder``, or failed where it was begun before and can't be gone on with.

    None: somebody is at it. ``gone``: whoever holds it certainly is no more, so that its lease need not run out.
    """
    if work.state is not WorkState.WAITING and not (work.leased_until <= now or gone):
        return None
    if work.tries and not resumable:
        return _moved(work, WorkFact.BROKEN, now, error=INTERRUPTED)
    if work.tries >= TRIES_MAX:
        return _moved(work, WorkFact.BROKEN, now, error=TOO_OFTEN)
    return _moved(work, WorkFact.TAKEN, now, tries=work.tries + 1, holder=holder, leased_until=now + LEASE_MS)


def renewed(work: Work, now: int) -> Work:
    """Held for longer."""
    return replace(work, version=work.version + 1, updated_at=now, leased_until=now + LEASE_MS)


def released(work: Work, now: int) -> Work:
    """Somebody else may go on; that it was begun stays known."""
    return _moved(work, WorkFact.RELEASED, now)


def ahead(work: Work, works: Iterable[Work]) -> Work | None:
    """Of a kind that is done one at a time: the work whose turn is before this one's; None: it is its turn.

    Those that run, or did when their process ended, come before those that wait; among each, by (created_at, work_id),
    which every process judges alike, whatever its clock says.
    """
    first = min((one for one in (work, *works) if one.kind == work.kind and one.state in UNFINISHED), key=_turn)
    return None if first.work_id == work.work_id else first


def beside(work: Work, works: Iterable[Work]) -> Work | None:
    """Another one of its kind that is held now."""
    others = (one for one in works if one.kind == work.kind and one.work_id != work.work_id)
    return next((one for one in others if one.state is WorkState.RUNNING), None)


def given_back(work: Work, now: int) -> Work:
    """As if it had not been taken: nothing of it was begun."""
    return replace(released(work, now), tries=work.tries - 1)


def _turn(work: Work) -> tuple[bool, int, str]:
    return work.state is not WorkState.RUNNING, work.created_at, work.work_id


def ended(work: Work, now: int, result: str) -> Work:
    """Done. ``result`` is JSON."""
    return _moved(work, WorkFact.ENDED, now, result=result)


def broken(work: Work, now: int, error: str) -> Work:
    """Failed, for a reason that a person may read."""
    return _moved(work, WorkFact.BROKEN, now, error=error)


def _moved(work: Work, fact: WorkFact, now: int, **changes: Any) -> Work:
    state = TRANSITIONS[work.state][fact]
    left = {} if state is WorkState.RUNNING else {"holder": None, "leased_until": 0}
    return replace(
        work, state=state, version=work.version + 1, updated_at=max(now, work.updated_at), **{**left, **changes}
    )
