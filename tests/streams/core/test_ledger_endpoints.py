"""Jobs of serverless endpoints: measured by the endpoint's limits, over its own jobs; external ones cost no seconds."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.accounts import Overrides, Role
from schemas.commands import CancelJob, GrantCredits, SubmitJob
from schemas.endpoints import EndpointLimits
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState, Output
from schemas.lifecycle import State
from schemas.requests import external_request
from streams.core.ledger import new_account
from streams.core.policy import Policy
from tests.streams.core.ledger_documents import (
    NOON,
    SECOND,
    USER,
    Documents,
    cancel,
    delete,
    failed,
    gone,
    handed_back,
    lost,
    retry,
    started,
    submit,
    succeeded,
)

C = FailureCode
LIMITS = EndpointLimits(max_active=2, rate_limit=4, rate_window_ms=20 * SECOND)
WORD = Output(value='{"error":"no","output":[1]}')


def run(job_id: str = "e1", *, endpoint: str = "echo", limits: EndpointLimits = LIMITS, **more: Any) -> SubmitJob:
    request = external_request(text='{"input":1}')
    return submit(
        job_id, **{"endpoint": endpoint, "external": True, "limits": limits, "request": request, "pool": "p", **more}
    )


def purge(job_id: str = "e1", command_id: str = "purge") -> CancelJob:
    return CancelJob(command_id=command_id, user_id=USER, job_id=job_id, queued_only=True)


def handler_failed(job_id: str = "e1", message: str = "no", **more: Any) -> Any:
    return replace(failed(job_id=job_id, code=C.HANDLER_ERROR, message=message), output=WORD, **more)


def test_what_the_command_says_reaches_the_job() -> None:
    documents = Documents()
    documents.do(
        run(
            webhook="https://h",
            ttl_ms=5_000,
            execution_timeout_ms=6_000,
            max_retries=7,
            priority=-1,
            pool="endpoint.echo",
        )
    )
    job = documents.job("e1")
    assert (job.endpoint, job.external, job.limits, job.pool) == ("echo", True, LIMITS, "endpoint.echo")
    assert (job.webhook, job.expires_at - NOON, job.execution_timeout_ms) == ("https://h", 5_000, 6_000)
    assert (job.max_retries, job.priority) == (7, -1)
    assert (job.charge.seconds, job.charge.state) == (0.0, ChargeState.RESERVED)


def test_limits_without_an_endpoint_are_nobodys() -> None:
    documents = Documents(Policy(max_active=1))
    documents.do(submit("j1", limits=LIMITS))
    assert documents.job().limits is None
    assert documents.ask(submit("j2", limits=LIMITS)).code is C.CONCURRENCY_EXCEEDED


def test_an_endpoints_limits_are_counted_over_its_own_jobs_alone() -> None:
    documents = Documents(Policy(max_active=1, rate_limit=1))
    assert documents.ask(submit("j1")).outcome is Outcome.ADMITTED
    assert [documents.ask(run(f"e{n}")).outcome for n in (1, 2)] == [Outcome.ADMITTED] * 2
    refused = documents.ask(run("e3"))
    assert refused.code is C.CONCURRENCY_EXCEEDED
    assert refused.remaining is not None
    assert (refused.remaining.active, refused.remaining.max_active) == (2, 2)
    assert documents.ask(run("o1", endpoint="other")).outcome is Outcome.ADMITTED
    assert documents.ask(submit("j2")).code is C.CONCURRENCY_EXCEEDED
    web = documents.ask(cancel("j1"), now=NOON + 1)
    assert web.remaining is not None
    assert (web.remaining.active, web.remaining.max_active) == (0, 1)


def test_jobs_of_endpoints_are_not_in_the_deployments_rate_and_the_other_way_round() -> None:
    documents = Documents(Policy(max_active=99, rate_limit=2))
    for n in range(2):
        documents.do(run(f"e{n}"))
        documents.do(submit(f"j{n}"))
    assert documents.ask(submit("j2")).code is C.RATE_LIMITED
    roomy = replace(LIMITS, max_active=99)
    assert [documents.ask(run(f"e{n}", limits=roomy)).outcome for n in (2, 3)] == [Outcome.ADMITTED] * 2
    late = documents.ask(run("e4", limits=roomy), now=NOON + 5 * SECOND)
    assert late.code is C.RATE_LIMITED
    assert late.remaining is not None
    assert late.remaining.retry_after_ms == 15 * SECOND


def on_mochi(job_id: str, **more: Any) -> SubmitJob:
    return submit(job_id, **{"endpoint": "mochi-1", **more})


def test_an_endpoint_without_limits_is_no_way_around_the_deployments() -> None:
    """What runs there and what the web API was asked for are counted together, whichever came first."""
    documents = Documents(Policy(max_active=2, rate_limit=99))
    assert documents.ask(on_mochi("e1")).outcome is Outcome.ADMITTED
    assert documents.ask(submit("j1")).outcome is Outcome.ADMITTED
    for command in (on_mochi("e2"), submit("j2"), on_mochi("o1", endpoint="other")):
        refused = documents.ask(command)
        assert refused.code is C.CONCURRENCY_EXCEEDED
        assert refused.remaining is not None
        assert (refused.remaining.active, refused.remaining.max_active) == (2, 2)
    assert documents.ask(run("e9")).outcome is Outcome.ADMITTED, "one with limits is counted alone"


def test_the_deployments_rate_is_counted_there_too() -> None:
    documents = Documents(Policy(max_active=99, rate_limit=2, rate_window_ms=10 * SECOND))
    documents.do(on_mochi("e1"))
    documents.do(submit("j1"), now=NOON + SECOND)
    late = documents.ask(on_mochi("e2"), now=NOON + 2 * SECOND)
    assert late.code is C.RATE_LIMITED
    assert late.remaining is not None
    assert late.remaining.retry_after_ms == 8 * SECOND


def test_an_exception_from_the_deployments_limits_holds_there_too() -> None:
    documents = Documents(Policy(max_active=1))
    documents.account = replace(new_account(USER), overrides=Overrides(max_active=3), version=1)
    assert [documents.ask(on_mochi(f"e{n}")).outcome for n in range(3)] == [Outcome.ADMITTED] * 3
    assert documents.ask(on_mochi("e3")).code is C.CONCURRENCY_EXCEEDED


def test_limits_that_come_and_go_leave_each_job_where_it_was_admitted() -> None:
    documents = Documents(Policy(max_active=1, rate_limit=99))
    assert [documents.ask(on_mochi(f"o{n}", limits=LIMITS)).outcome for n in range(2)] == [Outcome.ADMITTED] * 2
    assert documents.ask(on_mochi("d1")).outcome is Outcome.ADMITTED, "back to the deployment's: a count of its own"
    assert documents.ask(submit("j1")).code is C.CONCURRENCY_EXCEEDED
    assert documents.ask(on_mochi("o2", limits=LIMITS)).code is C.CONCURRENCY_EXCEEDED


def test_a_retry_that_brings_limits_leaves_the_deployments_count() -> None:
    documents = Documents(Policy(max_active=1, rate_limit=2))
    for command in (on_mochi("e1"), started("e1"), failed(job_id="e1", code=C.INVALID_INPUT)):
        documents.do(command)
    documents.do(submit("j1"), now=NOON + 1)
    assert documents.ask(retry("e1"), now=NOON + 2).code is C.CONCURRENCY_EXCEEDED, "as it was admitted"
    brought = replace(retry("e1", command_id="again"), endpoint="mochi-1", limits=LIMITS)
    assert documents.ask(brought, now=NOON + 3).outcome is Outcome.ADMITTED
    web = documents.ask(cancel("j1"), now=NOON + 4)
    assert web.remaining is not None
    assert web.remaining.active == 0
    assert documents.ask(submit("j2"), now=NOON + 5).outcome is Outcome.ADMITTED, "and its times went along"


def test_seconds_and_credits_are_shared() -> None:
    documents = Documents(Policy(monthly_limit_seconds=2.0, credits_required=True, credits_per_video=1.0))
    documents.do(GrantCredits(command_id="g", user_id=USER, grant_id="g", credits=3.0))
    assert documents.ask(submit("v1", frames=31, endpoint="mochi-1", limits=LIMITS)).outcome is Outcome.ADMITTED
    left = documents.ask(submit("v2", frames=7)).remaining
    assert left is not None
    assert (left.used_seconds, left.credits) == (1.58, 1.0)
    assert documents.ask(submit("v3", frames=61, endpoint="mochi-1", limits=LIMITS)).code is C.QUOTA_EXCEEDED


def test_what_makes_no_video_is_not_refused_for_seconds_or_a_videos_price() -> None:
    documents = Documents(Policy(monthly_limit_seconds=0.0, credits_required=True, credits_per_video=5.0))
    assert documents.ask(submit("v1", frames=7)).code is C.QUOTA_EXCEEDED
    admitted = documents.ask(run())
    assert admitted.outcome is Outcome.ADMITTED
    assert documents.job("e1").price_credits == 0.0
    priced = documents.ask(run("e2", credits=1.0))
    assert priced.code is C.CREDITS_EXCEEDED


@pytest.mark.parametrize("changes", [{"blocked": True}, {"deleted_at": NOON}, {"role": Role.RESTRICTED}])
def test_who_may_not_submit_may_not_on_an_endpoint(changes: dict[str, Any]) -> None:
    documents = Documents(account=replace(new_account(USER), **changes))
    assert documents.ask(run()).code is C.ACCOUNT_BLOCKED


def test_an_operators_overrides_are_of_the_deployment_but_for_nothing_at_all() -> None:
    documents = Documents()
    documents.account = replace(documents.account, overrides=Overrides(max_active=1, rate_limit=1, rate_window_ms=1))
    assert [documents.ask(run(f"e{n}")).outcome for n in (1, 2)] == [Outcome.ADMITTED] * 2
    documents.account = replace(documents.account, overrides=Overrides(max_active=0))
    assert documents.ask(run("o1", endpoint="other")).code is C.CONCURRENCY_EXCEEDED
    documents.account = replace(documents.account, overrides=Overrides(rate_limit=0))
    rated = documents.ask(run("o1", endpoint="other", command_id="o2"), now=NOON + 1)
    assert rated.code is C.RATE_LIMITED


def test_a_manual_retry_is_measured_as_its_job_was() -> None:
    documents = Documents(Policy(max_active=1, rate_limit=1))
    documents.do(submit("j1"))
    documents.do(run())
    documents.do(handler_failed(), now=NOON + 1)
    assert documents.ask(retry("e1"), now=NOON + 2).outcome is Outcome.ADMITTED
    assert documents.job("e1").limits == LIMITS


def test_a_manual_retry_may_bring_the_limits_that_hold_now() -> None:
    documents = Documents()
    documents.do(run())
    documents.do(handler_failed(), now=NOON + 1)
    documents.do(run("e2"), now=NOON + 2)
    tight = replace(LIMITS, max_active=1)
    refused = documents.ask(replace(retry("e1"), endpoint="echo", limits=tight), now=NOON + 3)
    assert refused.code is C.CONCURRENCY_EXCEEDED
    assert refused.remaining is not None
    assert refused.remaining.max_active == 1
    wide = replace(LIMITS, max_active=9)
    again = replace(retry("e1", command_id="again"), endpoint="echo", limits=wide)
    assert documents.ask(again, now=NOON + 4).outcome is Outcome.ADMITTED
    assert documents.job("e1").limits == wide
    assert documents.ask(again, now=NOON + 5).outcome is Outcome.ADMITTED


def test_limits_that_were_taken_back_hold_for_no_retry() -> None:
    documents = Documents(Policy(max_active=1, rate_limit=9))
    for name in ("e1", "e2"):
        for command in (on_mochi(name, limits=LIMITS), started(name), failed(job_id=name, code=C.INVALID_INPUT)):
            documents.do(command)
    bare = {name: replace(retry(name), endpoint="mochi-1") for name in ("e1", "e2")}
    assert documents.ask(bare["e1"], now=NOON + 1).outcome is Outcome.ADMITTED
    assert documents.job("e1").limits is None
    assert documents.ask(bare["e2"], now=NOON + 2).code is C.CONCURRENCY_EXCEEDED, "the deployment's, and it is used up"
    assert documents.ask(submit("j1"), now=NOON + 3).code is C.CONCURRENCY_EXCEEDED
    as_before = retry("e2", command_id="again")
    assert documents.ask(as_before, now=NOON + 4).outcome is Outcome.ADMITTED, "through the web API: as it was admitted"


def test_cancelling_and_retrying_is_no_way_round_an_endpoints_rate() -> None:
    documents = Documents()
    documents.do(run())
    for n in (1, 2, 3):
        documents.do(cancel("e1", run=n), now=NOON + 2 * n)
        assert documents.ask(retry("e1", run=n, command_id=f"r{n}"), now=NOON + 2 * n + 1).outcome is Outcome.ADMITTED
    documents.do(cancel("e1", run=4), now=NOON + 8)
    assert documents.ask(retry("e1", run=4, command_id="r4"), now=NOON + 9).code is C.RATE_LIMITED


# ---- queued_only


def test_a_purge_cancels_what_waits() -> None:
    documents = Documents()
    documents.do(run())
    assert documents.ask(purge(), now=NOON + 1).outcome is Outcome.DONE
    assert documents.job("e1").state is State.CANCELLED
    assert documents.ask(purge(), now=NOON + 2).outcome is Outcome.DONE, "the wish is fulfilled"


def test_a_purge_leaves_what_runs_and_what_has_ended() -> None:
    documents = Documents()
    documents.do(run())
    documents.do(started(job_id="e1"))
    assert documents.ask(purge(), now=NOON + 1).outcome is Outcome.UNCHANGED
    assert documents.job("e1").state is State.PROCESSING
    documents.do(succeeded(job_id="e1"))
    assert documents.ask(purge(), now=NOON + 2).outcome is Outcome.UNCHANGED
    assert documents.ask(purge("unknown")).outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize("back", [handed_back, lost])
def test_a_purge_takes_what_is_back_in_the_queue_but_not_if_it_is_older_than_that(back: Any) -> None:
    documents = Documents()
    documents.do(run())
    documents.do(started(job_id="e1"), now=NOON + 1)
    asked_while_it_ran = purge(command_id="early")
    assert documents.ask(asked_while_it_ran, now=NOON + 2).outcome is Outcome.UNCHANGED
    documents.do(back(job_id="e1"), now=NOON + 3)
    replayed = documents.do(asked_while_it_ran, now=NOON + 2)
    assert replayed.write is None
    assert documents.ask(purge(), now=NOON + 4).outcome is Outcome.DONE


def test_a_purge_means_the_run_that_was_there() -> None:
    documents = Documents()
    documents.do(run())
    documents.do(cancel("e1"), now=NOON + 1)
    documents.do(retry("e1"), now=NOON + 5)
    assert documents.do(purge(command_id="old"), now=NOON + 3).write is None
    assert documents.ask(purge(), now=NOON + 6).outcome is Outcome.DONE


# ---- what a worker says in failing


def test_a_handlers_failure_is_final_whatever_its_words_and_they_are_kept() -> None:
    documents = Documents()
    documents.do(run())
    documents.do(started(job_id="e1"))
    decision = documents.do(handler_failed(message="connection failed: 500 internal error, timeout"))
    job = documents.job("e1")
    assert (job.state, job.output, job.worker_id, job.winning_attempt) == (State.FAILED, WORD, "w1", 1)
    assert job.failure is not None
    assert job.failure.code is C.HANDLER_ERROR
    assert job.charge.state is ChargeState.REFUNDED
    assert gone(decision) == set(), "its word may be a file"
    assert documents.do(handler_failed()).write is None
    assert gone(documents.do(handler_failed(worker_id="w2"))) == {(1, "w2")}


def test_what_is_said_in_a_failure_that_is_tried_again_is_dropped() -> None:
    documents = Documents()
    documents.do(run())
    documents.do(started(job_id="e1"))
    decision = documents.do(replace(handler_failed(), code=C.WORKER_CRASHED))
    job = documents.job("e1")
    assert (job.state, job.output, job.winning_attempt) == (State.QUEUED, None, None)
    assert gone(decision) == {(1, "w1")}


def test_a_failure_without_a_word_leaves_no_output() -> None:
    documents = Documents()
    documents.do(submit())
    decision = documents.do(failed(code=C.INVALID_INPUT))
    job = documents.job()
    assert (job.state, job.output, job.winning_attempt) == (State.FAILED, None, None)
    assert gone(decision) == {(1, "w1")}


def test_a_manual_retry_and_a_deletion_drop_the_word() -> None:
    for ending in (retry("e1"), delete("e1")):
        documents = Documents()
        documents.do(run())
        documents.do(handler_failed(), now=NOON + 1)
        decision = documents.do(ending, now=NOON + 2)
        job = documents.job("e1")
        assert job.output is None
        assert (job.winning_attempt is None) == (job.state is State.QUEUED)
        assert gone(decision) == ({(1, "w1")} if job.state is State.QUEUED else set())
