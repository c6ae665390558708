"""The lease table, row by row, and what time alone says of a lease."""

import pytest

from schemas.dispatch import WEBHOOK_WORKER, WorkerKind, WorkerState
from schemas.lifecycle import State
from streams.core.draft import Draft
from streams.core.leases import ABSENT_MS, AFTER, SILENT_MS, Sign, grant, observe, observed, owed
from streams.core.pool_state import LIVE, Lease, Phase, Worker, empty_pool, entry_of
from tests.streams.core.pool_steps import POOL, T0, job_of, tells

NATIVE, SDK = WorkerKind.NATIVE, WorkerKind.SDK


def _worker(kind: WorkerKind = NATIVE, *, tick: int = 0, session: str = "s1") -> Worker:
    return Worker("w1", session, 1, kind, WorkerState.READY, heard=0, tick=tick)


def _lease(phase: Phase = Phase.OFFERED, kind: WorkerKind | None = NATIVE, session: str | None = "s1") -> Lease:
    return Lease(1, "w1", session, kind, phase, renewed=0, sequence=1, tick=0)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("sign", Sign)
def test_every_phase_meets_every_sign(phase: Phase, sign: Sign) -> None:
    draft = Draft(empty_pool(POOL), T0)
    entry = grant(draft, entry_of(job_of("a")), _worker(), phase)
    moved = observe(draft, entry, sign)
    if sign not in AFTER[phase]:
        assert moved == entry
        assert draft.effects == []
        return
    expected = AFTER[phase][sign]
    assert (moved.lease.phase if moved.lease else None) == expected
    assert draft.jobs["a"] == moved
    over = expected is not None and expected not in LIVE
    assert tells(draft.effects) == ([(str(expected), "a", 1)] if over else [])


def test_the_table_has_a_row_for_every_phase_and_reaches_every_phase() -> None:
    assert set(AFTER) == set(Phase)
    reached = {phase for before, row in AFTER.items() for phase in row.values() if phase is not before}
    assert reached == {None, *Phase} - {Phase.OFFERED}


def test_no_sign_ends_a_lease_that_is_over() -> None:
    for phase in set(Phase) - LIVE:
        assert set(AFTER[phase].values()) <= {Phase.RUNNING}


@pytest.mark.parametrize("sign", [Sign.DECLINED, Sign.ABSENT, Sign.LEFT])
def test_an_offer_that_came_to_nothing_is_not_counted_as_served(sign: Sign) -> None:
    draft = Draft(empty_pool(POOL), T0)
    entry = grant(draft, entry_of(job_of("a")), _worker(), Phase.OFFERED)
    assert draft.shares["ann"].amount == pytest.approx(1.0)
    observe(draft, entry, sign)
    assert draft.shares["ann"].amount == 0.0


@pytest.mark.parametrize("kind", WorkerKind)
@pytest.mark.parametrize("phase", sorted(LIVE))
def test_silence_is_as_long_as_the_kind_of_worker_allows(kind: WorkerKind, phase: Phase) -> None:
    lease = _lease(phase, kind)
    early = observed(lease, _worker(kind), SILENT_MS[kind] - 1)
    assert early in (None, Sign.ABSENT if (kind, phase) == (SDK, Phase.OFFERED) else None)
    assert observed(_lease(Phase.RUNNING, kind), None, SILENT_MS[kind]) is Sign.SILENT


@pytest.mark.parametrize("phase", sorted(LIVE))
def test_what_only_webhook_calls_tell_of_is_not_lost_by_silence(phase: Phase) -> None:
    """Its service renders for many minutes and says nothing meanwhile; the execution timeout bounds it."""
    draft = Draft(empty_pool(POOL), T0)
    running = job_of("a", state=State.PROCESSING, worker_id=WEBHOOK_WORKER, started_at=T0)
    entry = grant(draft, entry_of(running), None, phase)
    assert entry.lease is not None
    assert entry.lease.worker_id == WEBHOOK_WORKER
    assert observed(entry.lease, None, 10 * SILENT_MS[SDK]) is None
    assert owed(entry, T0 + 600_000 - 1) is None
    assert owed(entry, T0 + 600_000) == "execution_timeout"


def test_absence_needs_a_beat_that_was_sent_after_the_offer_could_be_read() -> None:
    waited = ABSENT_MS[NATIVE]
    assert observed(_lease(), _worker(tick=1), waited) is None
    assert observed(_lease(), _worker(tick=2), waited - 1) is None
    assert observed(_lease(), _worker(tick=2), waited) is Sign.ABSENT
    assert observed(_lease(), _worker(tick=2, session="s2"), waited) is None
    assert observed(_lease(session=None, kind=None), _worker(tick=2), waited) is Sign.ABSENT


def test_an_sdk_workers_silence_about_an_offer_needs_no_beat() -> None:
    assert observed(_lease(kind=SDK), _worker(SDK), ABSENT_MS[SDK] - 1) is None
    assert observed(_lease(kind=SDK), _worker(SDK), ABSENT_MS[SDK]) is Sign.ABSENT
    assert observed(_lease(Phase.RUNNING, SDK), _worker(SDK), ABSENT_MS[SDK]) is None
