"""Which attempt a worker had, by its document; and the memory of what was handed out."""

from dataclasses import replace

import pytest

from gateway.core.handouts import Claim, HandOut, HandOuts, claim_of, is_over
from schemas.jobs import AttemptEnd, EarlierAttempt, Job
from schemas.lifecycle import ACTIVE, State
from schemas.slots import Slot
from tests.gateway.world import job

MINE = Slot("echo", "pod-1", "0" * 12, 0).worker_id
MINE_TOO = Slot("echo", "pod-1", "2" * 12, 7).worker_id
OTHERS = Slot("echo", "pod-2", "1" * 12, 0).worker_id
ELSEWHERE = Slot("other", "pod-1", "1" * 12, 0).worker_id


def external(state: State, **changes: object) -> Job:
    return replace(job("j", state=state), endpoint="echo", external=True, **changes)  # type: ignore[arg-type]


def lost(attempt: int, worker_id: str) -> EarlierAttempt:
    return EarlierAttempt(attempt=attempt, worker_id=worker_id, end=AttemptEnd.LOST)


@pytest.mark.parametrize("state", list(State))
def test_the_current_attempt_is_the_workers_whom_the_document_names(state: State) -> None:
    found = claim_of(external(state, worker_id=MINE, attempt=3), "echo", "pod-1")
    assert isinstance(found, HandOut)
    assert (found.attempt, found.worker_id, found.settled) == (3, MINE, state not in ACTIVE)


def test_of_a_completed_job_it_is_the_attempt_that_won() -> None:
    found = claim_of(external(State.COMPLETED, worker_id=MINE, attempt=3, winning_attempt=2), "echo", "pod-1")
    assert isinstance(found, HandOut)
    assert (found.attempt, found.settled) == (2, True)


def test_an_earlier_attempt_is_late_and_counts_only_while_the_next_one_waits() -> None:
    earlier = (lost(1, MINE), lost(2, MINE_TOO))
    late = claim_of(external(State.QUEUED, attempt=3, earlier_attempts=earlier), "echo", "pod-1")
    assert isinstance(late, HandOut)
    assert (late.attempt, late.worker_id, late.settled) == (2, MINE_TOO, False)
    for state, attempt, worker_id in (
        (State.QUEUED, 4, None),
        (State.PROCESSING, 3, OTHERS),
        (State.FAILED, 3, OTHERS),
    ):
        made = external(state, attempt=attempt, worker_id=worker_id, earlier_attempts=earlier)
        found = claim_of(made, "echo", "pod-1")
        assert isinstance(found, HandOut)
        assert found.settled


@pytest.mark.parametrize(
    ("made", "claim"),
    [
        (None, Claim.UNKNOWN),
        (replace(external(State.PROCESSING, worker_id=MINE), endpoint="other"), Claim.UNKNOWN),
        (replace(external(State.PROCESSING, worker_id=MINE), external=False), Claim.UNKNOWN),
        (external(State.QUEUED), Claim.NOT_YET),
        (external(State.QUEUED, attempt=2, earlier_attempts=(lost(1, OTHERS),)), Claim.NOT_YET),
        (external(State.PROCESSING, worker_id=OTHERS), Claim.NONE),
        (external(State.PROCESSING, worker_id=ELSEWHERE), Claim.NONE),
        (external(State.PROCESSING, worker_id="gpu-1"), Claim.NONE),
        (external(State.CANCELLED), Claim.NONE),
    ],
)
def test_what_a_worker_never_had_it_can_say_nothing_of(made: Job | None, claim: Claim) -> None:
    assert claim_of(made, "echo", "pod-1") is claim


@pytest.mark.parametrize(
    ("state", "attempt", "worker_id", "over"),
    [
        (State.PROCESSING, 2, MINE, False),
        (State.PROCESSING, 2, OTHERS, True),
        (State.PROCESSING, 3, MINE, True),
        (State.PROCESSING, 1, OTHERS, False),  # an event of the past
        (State.QUEUED, 2, None, False),
        (State.QUEUED, 3, None, False),  # a late success may still count
        (State.QUEUED, 4, None, True),
        (State.COMPLETED, 3, OTHERS, True),
        (State.CANCELLED, 2, MINE, True),
        (State.FAILED, 1, OTHERS, False),  # of a run before this one
    ],
)
def test_a_hand_out_is_over_when_its_document_has_left_it_behind(
    state: State, attempt: int, worker_id: str | None, over: bool
) -> None:
    assert is_over(HandOut("ada", "j", MINE, 2), state, attempt, worker_id) is over


def test_the_memory_is_by_job_and_worker_and_bounded() -> None:
    memory = HandOuts(2)
    memory.note("echo", "pod-1", HandOut("ada", "a", MINE, 1))
    memory.note("echo", "pod-2", HandOut("ada", "a", OTHERS, 2))
    memory.note("echo", "pod-1", HandOut("ada", "a", MINE_TOO, 3))
    found = memory.find("echo", "pod-1", "a")
    assert found is not None
    assert (found.worker_id, found.attempt) == (MINE_TOO, 3)
    assert sorted(one.attempt for one in memory.of_job("a")) == [2, 3]
    memory.drop("echo", "pod-2", "a")
    memory.drop("echo", "pod-9", "a")
    assert [one.attempt for one in memory.of_job("a")] == [3]
    memory.note("echo", "pod-1", HandOut("ada", "b", MINE, 1))
    memory.note("echo", "pod-1", HandOut("ada", "c", MINE, 1))
    assert "a" not in memory
    assert len(memory) == 2
    memory.drop("echo", "pod-1", "c")
    assert "c" not in memory
