"""A job's ttl counts from its submission and covers its run, as RunPod's documentation says: a hard end, also where the
execution timeout would leave it more time."""

from schemas.dispatch import StopAttempt
from schemas.failures import FailureCode
from schemas.jobs import ChargeState
from schemas.lifecycle import State
from tests.streams.core.ledger_documents import NOON, SECOND, Documents, expired, started, submit
from tests.streams.core.pool_steps import T0, Pool, after, job_of, orders, tells


def test_a_run_that_began_in_time_ends_with_the_ttl_before_its_execution_timeout() -> None:
    pool = Pool()
    running = job_of(
        "a", state=State.PROCESSING, worker_id="w1", started_at=T0, expires_at=T0 + 10_000, execution_timeout_ms=600_000
    )
    pool.load(running)
    pool.busy("w1", "a")
    assert tells(pool.ticks(9)) == []
    pool.busy("w1", "a")
    assert tells(pool.tick()) == [("ttl_expired", "a", 1)]
    (stop,) = orders(pool.move(after(running, state=State.TIMED_OUT)))
    assert isinstance(stop, StopAttempt)
    assert (stop.worker_id, stop.job_id) == ("w1", "a")


def test_the_time_in_the_queue_is_part_of_it() -> None:
    documents = Documents()
    documents.do(submit(ttl_ms=10_000, execution_timeout_ms=600_000))
    documents.do(started(), now=NOON + 9 * SECOND)
    job = documents.job()
    assert (job.state, job.expires_at, job.execution_timeout_ms) == (State.PROCESSING, NOON + 10_000, 600_000)
    documents.do(expired(), now=NOON + 10 * SECOND)
    job = documents.job()
    assert (job.state, job.charge.state) == (State.TIMED_OUT, ChargeState.REFUNDED)
    assert job.failure is not None
    assert job.failure.code is FailureCode.TTL_EXPIRED
