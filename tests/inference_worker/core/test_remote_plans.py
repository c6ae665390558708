"""Submit once; take over; wait for a call; give up; leave or cancel: tables of who asks and what is remembered."""

from dataclasses import replace
from typing import Any

import pytest

from inference_worker.core.remote_plans import (
    ORPHANED_MS,
    UNSEEN_MS,
    Ask,
    Asker,
    Await,
    End,
    Follow,
    GiveUp,
    Leave,
    Submit,
    fate,
    fate_after_stop,
    moved,
    plan,
    resumes,
    sent_now,
)
from schemas.failures import FailureCode
from schemas.jobs import Failure
from schemas.lifecycle import State
from schemas.remote_runs import TRANSITIONS, RemoteFact, RemoteRun, RemoteState
from tests.gateway.world import job

S, F = RemoteState, RemoteFact
NOW = 1_000_000
TARGET = "https://api.example.org/v2/abc"
ME = Asker(job_id="j", run=1, attempt=1, worker_id="w.1", target=TARGET, wait_ms=30_000)
NEXT = replace(ME, attempt=2, worker_id="v.3")
FAILURE = Failure(code=FailureCode.ENGINE_ERROR, message="no")


def run(state: RemoteState, **changes: Any) -> RemoteRun:
    remote_id = None if state is S.INTENDED else "abc-e1"
    known = RemoteRun(
        job_id="j", run=1, target=TARGET, worker_id="w.1", attempt=1, state=state, version=3, intended_at=NOW - 1_000
    )
    return replace(known, **{"remote_id": remote_id, **changes})


def test_the_first_to_ask_submits() -> None:
    decided = plan(None, ME, NOW)
    assert isinstance(decided, Submit)
    assert (decided.intent.state, decided.intent.version, decided.intent.submissions) == (S.INTENDED, 1, 1)
    assert (decided.intent.attempt, decided.intent.worker_id, decided.intent.intended_at) == (1, "w.1", NOW)


def test_an_intent_is_of_the_run_and_target_that_are_asked_for() -> None:
    decided = plan(None, replace(ME, run=3, target="https://other.example.org/v2/x"), NOW)
    assert isinstance(decided, Submit)
    assert (decided.intent.job_id, decided.intent.run) == ("j", 3)
    assert decided.intent.target == "https://other.example.org/v2/x"


@pytest.mark.parametrize("state", [S.SUBMITTED, S.MADE])
def test_what_is_there_is_followed_by_whoever_has_the_attempt(state: RemoteState) -> None:
    assert plan(run(state), ME, NOW) == Follow(run(state), takes_over=False)
    taken = run(state, attempt=2, worker_id="v.3", version=4)
    assert plan(run(state), NEXT, NOW) == Follow(taken, takes_over=True)


@pytest.mark.parametrize("changed", [{"attempt": 2}, {"worker_id": "v.3"}], ids=str)
def test_the_same_attempt_elsewhere_and_the_same_worker_later_take_it_over_too(changed: dict[str, Any]) -> None:
    taken = run(S.SUBMITTED, version=4, **changed)
    assert plan(run(S.SUBMITTED), replace(ME, **changed), NOW) == Follow(taken, takes_over=True)


def test_whose_submissions_are_counted() -> None:
    """The attempt's, wherever it runs."""
    twice, later = run(S.SPENT, submissions=2), NOW + 60_000
    assert plan(twice, replace(ME, worker_id="v.3"), later) == GiveUp(None)
    assert isinstance(plan(twice, replace(ME, attempt=2), later), Submit)
    # A worker that stood still and has not heard that its attempt is over: what the later one did is not its doing.
    decided = plan(replace(twice, attempt=2), ME, later)
    assert isinstance(decided, Submit)


@pytest.mark.parametrize("asker", [ME, NEXT])
def test_an_intent_without_an_id_is_given_time(asker: Asker) -> None:
    until = NOW - 1_000 + 30_000
    assert plan(run(S.INTENDED), asker, NOW) == Await(run(S.INTENDED), until)
    assert isinstance(plan(run(S.INTENDED), asker, until), Submit)


def test_an_attempt_submits_twice_at_the_most() -> None:
    for state in (S.INTENDED, S.SPENT):
        later = NOW + 60_000
        again = plan(run(state), ME, later)
        assert isinstance(again, Submit)
        assert (again.intent.submissions, again.intent.version, again.intent.remote_id) == (2, 4, None)
        assert plan(run(state, submissions=2), ME, later) == GiveUp(None)
        fresh = plan(run(state, submissions=2), NEXT, later)
        assert isinstance(fresh, Submit)
        assert (fresh.intent.submissions, fresh.intent.attempt) == (1, 2)


def test_what_is_known_to_have_failed_is_the_attempts_end_and_not_the_next_ones() -> None:
    assert plan(run(S.SPENT, failure=FAILURE), ME, NOW) == GiveUp(FAILURE)
    decided = plan(run(S.SPENT, failure=FAILURE), NEXT, NOW)
    assert isinstance(decided, Submit)
    assert decided.intent.failure is None


@pytest.mark.parametrize("state", RemoteState)
@pytest.mark.parametrize("fact", RemoteFact)
def test_a_run_moves_as_the_table_says(state: RemoteState, fact: RemoteFact) -> None:
    if fact not in TRANSITIONS[state]:
        with pytest.raises(AssertionError, match="cannot meet"):
            moved(run(state), fact)
        return
    after = moved(run(state), fact, remote_id="new-e1", failure=FAILURE)
    assert (after.state, after.version, after.remote_id) == (TRANSITIONS[state][fact], 4, "new-e1")


def test_a_fact_keeps_the_id_and_says_the_failure_or_none() -> None:
    assert moved(run(S.SUBMITTED), F.COMPLETED).remote_id == "abc-e1"
    assert moved(run(S.SUBMITTED), F.BROKEN, failure=FAILURE).failure == FAILURE
    assert moved(run(S.SUBMITTED, failure=FAILURE), F.BROKEN).failure is None


def test_a_try_that_did_not_happen_is_no_submission() -> None:
    again = sent_now(run(S.INTENDED), NOW)
    assert (again.intended_at, again.submissions, again.version) == (NOW, 1, 4)


def a_job(**changes: Any) -> Any:
    running: dict[str, Any] = {"state": State.PROCESSING, "worker_id": "w.1", "started_at": NOW - 5_000}
    return job("j", **{**running, **changes})


@pytest.mark.parametrize("ended", [None, a_job(state=State.CANCELLED), a_job(state=State.COMPLETED), a_job(run=2)])
def test_what_nobody_wants_is_ended_and_cancelled_while_it_may_run(ended: Any) -> None:
    assert fate(run(S.SUBMITTED), ended, NOW) == End(cancel=True)
    assert fate_after_stop(run(S.SUBMITTED), 1, "w.1", ended, NOW, NOW) == End(cancel=True)
    for state in (S.INTENDED, S.MADE, S.SPENT):
        assert fate(run(state), ended, NOW) == End(cancel=False)


def test_what_somebody_has_or_will_have_is_left() -> None:
    assert fate(run(S.SUBMITTED), a_job(), NOW) == Leave()
    assert fate(run(S.SUBMITTED), a_job(state=State.QUEUED, worker_id=None, attempt=2), NOW) == Leave()
    elsewhere = a_job(worker_id="gpu-1", attempt=2)
    assert fate(run(S.SUBMITTED), elsewhere, NOW) == Leave()
    assert fate(run(S.SUBMITTED), elsewhere, NOW - 5_000 + ORPHANED_MS) == End(cancel=True)
    assert fate(run(S.INTENDED), elsewhere, NOW - 5_000 + ORPHANED_MS) == Leave()


def test_only_what_runs_there_for_nobody_is_orphaned() -> None:
    """And only once it is known for how long somebody else has had the job."""
    late = NOW - 5_000 + ORPHANED_MS
    elsewhere = a_job(worker_id="gpu-1", attempt=2)
    assert fate(run(S.SUBMITTED), elsewhere, late - 1) == Leave()
    assert fate(run(S.MADE), elsewhere, late) == Leave(), "it costs nothing, and its result may be asked for"
    assert fate(run(S.SUBMITTED), a_job(), late) == Leave(), "its own worker has it"
    waiting = a_job(state=State.QUEUED, worker_id=None, attempt=2)
    assert fate(run(S.SUBMITTED), waiting, late) == Leave(), "whoever gets it takes it over"
    assert fate(run(S.SUBMITTED), replace(elsewhere, started_at=None), NOW) == Leave()


def test_a_run_of_the_job_that_is_not_the_documents_is_ended() -> None:
    assert fate(run(S.SUBMITTED, run=2), a_job(), NOW) == End(cancel=True)
    assert fate_after_stop(run(S.SUBMITTED, run=2), 1, "w.1", a_job(), NOW, NOW) == End(cancel=True)


def test_a_stop_cancels_only_what_the_stopped_attempt_still_has() -> None:
    mine = run(S.SUBMITTED)
    assert fate_after_stop(replace(mine, attempt=2), 1, "w.1", None, NOW, NOW) == Leave()
    assert fate_after_stop(replace(mine, worker_id="v.3"), 1, "w.1", None, NOW, NOW) == Leave()
    for later in (a_job(attempt=2, state=State.QUEUED, worker_id=None), a_job(worker_id="v.3")):
        assert fate_after_stop(mine, 1, "w.1", later, NOW, NOW) == Leave()
    assert fate_after_stop(mine, 1, "w.1", a_job(), NOW, NOW) == Ask()
    assert fate_after_stop(mine, 1, "w.1", a_job(), NOW, NOW + UNSEEN_MS - 1) == Ask()
    assert fate_after_stop(mine, 1, "w.1", a_job(state=State.QUEUED, worker_id=None), NOW, NOW) == Ask()
    assert fate_after_stop(mine, 1, "w.1", a_job(), NOW, NOW + UNSEEN_MS) == End(cancel=True)


def test_a_session_goes_on_with_what_the_document_says_is_its_workers() -> None:
    mine = run(S.SUBMITTED)
    assert resumes(mine, a_job())
    assert resumes(mine, a_job(state=State.QUEUED, worker_id=None))
    for other in (None, a_job(attempt=2), a_job(run=2), a_job(worker_id="v"), a_job(state=State.COMPLETED)):
        assert not resumes(mine, other)
