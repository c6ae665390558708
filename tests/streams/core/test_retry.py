"""Which failures are tried again, and when."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from schemas.failures import RETRYABLE_WORDS, FailureCode
from schemas.jobs import Job
from streams.core.policy import Policy
from streams.core.retry import backoff_ms, classified, tried_again
from tests.streams.core.ledger_documents import Documents, submit


def job(**changes: object) -> Job:
    documents = Documents()
    documents.do(submit())
    return replace(documents.job(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", RETRYABLE_WORDS)
def test_openvs_words_decide_for_engines_that_give_a_text(word: str) -> None:
    text = f"it said: {word.upper()}!"
    assert classified(FailureCode.ENGINE_ERROR, text) is FailureCode.TRANSIENT_ERROR
    assert classified(FailureCode.INVALID_INPUT, text) is FailureCode.INVALID_INPUT
    assert classified(FailureCode.ENGINE_ERROR, "no such thing") is FailureCode.ENGINE_ERROR


@pytest.mark.parametrize(("tries", "max_retries", "again"), [(1, 2, True), (2, 2, True), (3, 2, False), (1, 0, False)])
def test_the_first_try_is_no_retry(tries: int, max_retries: int, again: bool) -> None:
    assert tried_again(job(tries=tries, max_retries=max_retries), FailureCode.WORKER_LOST) is again
    assert tried_again(job(tries=tries, max_retries=max_retries), FailureCode.INVALID_INPUT) is False


@given(
    tries=st.integers(1, 10_000), attempt=st.integers(1, 10_000), base=st.integers(0, 60_000), factor=st.integers(1, 9)
)
def test_waits_grow_up_to_the_cap_and_are_the_same_each_time(tries: int, attempt: int, base: int, factor: int) -> None:
    policy = Policy(backoff_base_ms=base, backoff_factor=factor, backoff_max_ms=100_000)
    failed = job(tries=tries, attempt=attempt)
    ceiling = min(100_000, base * factor ** min(tries - 1, 64))
    assert ceiling // 2 <= backoff_ms(policy, failed) <= ceiling
    assert backoff_ms(policy, failed) == backoff_ms(policy, failed)


@given(st.integers(1, 1_000), st.integers(1, 1_000))
def test_every_wait_is_longer_than_the_one_before_until_the_cap(number: int, base: int) -> None:
    policy = Policy(backoff_base_ms=base, backoff_factor=4, backoff_max_ms=base * 4**3)
    waits = [backoff_ms(policy, job(job_id=f"j{number}", attempt=tries, tries=tries)) for tries in range(1, 7)]
    assert waits[0] < waits[1] < waits[2] < waits[3]
    assert max(waits) <= base * 4**3


def test_jobs_that_fail_together_come_back_apart() -> None:
    waits = {backoff_ms(Policy(backoff_base_ms=100_000), job(job_id=f"j{n}")) for n in range(50)}
    assert len(waits) > 45
