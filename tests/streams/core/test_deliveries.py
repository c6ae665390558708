"""One delivery from claim to end: the schedule, the table of states, the health of endpoints."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deliveries import (
    ATTEMPTS_KEPT,
    TRANSITIONS,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Endpoint,
    Hooks,
    Step,
    WebhookEvent,
)
from streams.core.deliveries import (
    DAY,
    HOUR,
    MINUTE,
    RETRY_AFTER_MAX,
    SECOND,
    Result,
    SendingPolicy,
    cancelled,
    claimed,
    hooks_after,
    overdue,
    retry_after_ms,
    tried,
)

NOW = 1_790_000_000_000
POLICY = SendingPolicy()
OPEN = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
# As published by Standard Webhooks: the delay before each try.
PUBLISHED = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        delivery_id="msg_1",
        user_id="ann",
        endpoint_id="wh_1",
        kind=DeliveryKind.WEBHOOK,
        type="video.failed",
        body="{}",
        version=1,
        created_at=NOW,
        delete_at=NOW + DAY,
        next_at=NOW,
    )
    return replace(made, **changes)


def hooks(**changes: Any) -> Hooks:
    made = Endpoint(
        endpoint_id="wh_1",
        url="https://example.org",
        listens={WebhookEvent.FAILED: 0},
        secret="whsec_c2VjcmV0",
        created_at=1,
        updated_at=1,
    )
    other = replace(made, endpoint_id="wh_2")
    return Hooks(user_id="ann", version=3, endpoints=(replace(made, **changes), other))


def claim(one: Delivery, now: int) -> Delivery:
    made = claimed(one, "me", now, POLICY)
    assert made is not None
    return made


def failed(at: int, **changes: Any) -> Result:
    return replace(Result(at=at, duration_ms=10, status=500, error="HTTP 500"), **changes)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_the_published_schedule_with_jitter_then_it_is_given_up(chance: float) -> None:
    one, now, tries = delivery(), NOW, 0
    while one.state in OPEN:
        assert one.next_at is not None
        delay = one.next_at - now
        published = PUBLISHED[tries] * SECOND
        assert published <= delay <= published * 1.1, (tries, delay)
        one = claim(one, one.next_at)
        tries += 1
        now = one.next_at - POLICY.lease_ms if one.next_at else 0
        one = tried(one, failed(now, duration_ms=0), POLICY, chance)
    assert tries == len(PUBLISHED)
    assert one.state is DeliveryState.FAILED
    assert one.next_at is None
    assert [attempt.status for attempt in one.attempts] == [500] * 10


def test_a_call_about_a_job_has_runpods_three_tries_whatever_the_answer_asks_for() -> None:
    one, now = delivery(kind=DeliveryKind.JOB), NOW
    began = []
    while one.state in OPEN:
        assert one.next_at is not None
        now = one.next_at
        began.append(now)
        one = tried(claim(one, now), failed(now, status=410, retry_after_ms=HOUR, duration_ms=7), POLICY, 0)
    assert [at - NOW for at in began] == [0, 10_007, 20_014]
    assert (one.state, len(one.attempts)) == (DeliveryState.FAILED, 3)


def test_only_calls_about_jobs_can_be_too_late() -> None:
    for kind in DeliveryKind:
        one = delivery(kind=kind)
        assert overdue(one, NOW + POLICY.overdue_ms + 1, POLICY) is (kind is DeliveryKind.JOB)
        assert not overdue(one, NOW + POLICY.overdue_ms, POLICY)
        assert not overdue(replace(one, next_at=None), NOW + 10 * DAY, POLICY)


def test_no_try_of_a_job_outlasts_its_lease() -> None:
    assert POLICY.lease_ms > 2 * POLICY.large_ms + POLICY.timeout_ms


def test_a_success_ends_it() -> None:
    one = tried(claim(delivery(), NOW), Result(at=NOW, duration_ms=3, status=204), POLICY, 0)
    assert (one.state, one.next_at, one.claimed_by) == (DeliveryState.SUCCEEDED, None, None)
    assert [(attempt.status, attempt.error) for attempt in one.attempts] == [(204, None)]
    assert claimed(one, "me", NOW + DAY, POLICY) is None
    assert cancelled(one, "gone") is None


def test_a_claim_lasts_for_its_lease_and_then_another_takes_it() -> None:
    one = claim(delivery(), NOW)
    assert (one.state, one.tries, one.next_at) == (DeliveryState.SENDING, 1, NOW + POLICY.lease_ms)
    assert claimed(one, "other", NOW + POLICY.lease_ms - 1, POLICY) is None
    again = claimed(one, "other", NOW + POLICY.lease_ms, POLICY)
    assert again is not None
    assert (again.claimed_by, again.tries, again.delivery_id, again.body) == ("other", 2, one.delivery_id, one.body)
    assert POLICY.lease_ms > 2 * POLICY.timeout_ms
    assert claimed(delivery(), "me", NOW - 1, POLICY) is None, "not due yet"


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(None, 5 * SECOND), (1_000, 5 * SECOND), (HOUR, HOUR), (400 * DAY, RETRY_AFTER_MAX)],
)
def test_retry_after_only_ever_makes_it_later_and_not_for_ever(asked: int | None, waits: int) -> None:
    one = tried(claim(delivery(), NOW), failed(NOW, status=503, duration_ms=0, retry_after_ms=asked), POLICY, 0)
    assert one.next_at == NOW + waits


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        (None, None),
        ("120", 120 * SECOND),
        (" 0 ", 0),
        ("99999999999999999999", RETRY_AFTER_MAX),
        ("-5", None),
        ("soon", None),
        ("١٢", None),
        ("Mon, 21 Sep 2026 14:20:40 GMT", 7 * MINUTE + 20 * SECOND),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_MAX),
        ("Mon, 99 Sep 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, wait: int | None) -> None:
    assert retry_after_ms(text, NOW) == wait


@given(st.text(max_size=60))
def test_any_retry_after_is_read_without_harm(text: str) -> None:
    wait = retry_after_ms(text, NOW)
    assert wait is None or 0 <= wait <= RETRY_AFTER_MAX


def test_a_test_is_sent_once_and_a_mail_for_some_hours() -> None:
    assert tried(claim(delivery(kind=DeliveryKind.TEST), NOW), failed(NOW), POLICY, 0).state is DeliveryState.FAILED
    final = failed(NOW, status=None, final=True)
    assert tried(claim(delivery(kind=DeliveryKind.MAIL), NOW), final, POLICY, 0).state is DeliveryState.FAILED
    assert sum(POLICY.schedules[DeliveryKind.MAIL]) < 6 * HOUR


def test_410_ends_it_and_disables_the_endpoint() -> None:
    gone = failed(NOW, status=410, error="HTTP 410")
    after = tried(claim(delivery(), NOW), gone, POLICY, 0)
    assert after.state is DeliveryState.FAILED
    changed = hooks_after(hooks(), after, gone, POLICY)
    assert changed is not None
    assert changed.version == 4
    first, second = changed.endpoints
    assert (first.enabled, first.disabled_reason) == (False, "The endpoint answered 410 Gone.")
    assert second == hooks().endpoints[1]


def test_an_endpoint_is_disabled_when_all_failed_for_five_days() -> None:
    ended = delivery(state=DeliveryState.FAILED, next_at=None)
    again = delivery(state=DeliveryState.PENDING)
    early, late = NOW - 5 * DAY + 1, NOW - 5 * DAY

    def enabled(after: Delivery, **endpoint: Any) -> bool:
        changed = hooks_after(hooks(**endpoint), after, failed(NOW), POLICY) or hooks(**endpoint)
        return changed.endpoints[0].enabled

    assert enabled(ended, failing_since=early)
    assert not enabled(ended, failing_since=late)
    assert enabled(again, failing_since=late), "tries are left: one failure after a long silence is none of it"
    assert enabled(ended)
    test = delivery(kind=DeliveryKind.TEST, state=DeliveryState.FAILED)
    assert hooks_after(hooks(failing_since=late), test, failed(NOW), POLICY) is None


def test_a_success_forgets_the_failures_and_nothing_is_written_for_nothing() -> None:
    fine = Result(at=NOW, duration_ms=1, status=200)
    after = delivery(state=DeliveryState.SUCCEEDED, next_at=None)
    assert hooks_after(hooks(), after, fine, POLICY) is None
    changed = hooks_after(hooks(failing_since=5), after, fine, POLICY)
    assert changed == replace(hooks(), version=4)
    first = hooks_after(hooks(), delivery(), failed(NOW), POLICY)
    assert first is not None
    assert first.endpoints[0].failing_since == NOW
    assert hooks_after(first, delivery(), failed(NOW + 5), POLICY) is None
    assert hooks_after(Hooks(user_id="ann"), delivery(), failed(NOW), POLICY) is None, "deleted meanwhile"


def test_the_table_of_states() -> None:
    assert set(TRANSITIONS) == set(DeliveryState)
    for state, row in TRANSITIONS.items():
        assert (state in OPEN) == (Step.CANCELLED in row), "what is over can't be taken back"
        assert (Step.CLAIMED in row) == (state in OPEN)
    assert {Step.SUCCEEDED, Step.AGAIN, Step.GAVE_UP} <= set(TRANSITIONS[DeliveryState.SENDING])
    with pytest.raises(ValueError, match="can't be"):
        tried(delivery(), failed(NOW), POLICY, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "fail", "gone", "succeed", "cancel", "wait"]),
        st.integers(0, 2 * DAY),
        st.floats(0, 0.999),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from(DeliveryKind))
def test_whatever_happens_it_stays_one_delivery_and_ends(steps: list[tuple[str, int, float]], kind: Any) -> None:
    one, now = delivery(kind=kind), NOW
    for name, wait, chance in steps:
        before = one
        if name == "wait":
            now += wait
        elif name == "claim":
            one = claimed(one, "me", now, POLICY) or one
        elif name == "cancel":
            one = cancelled(one, "gone") or one
        elif one.state is DeliveryState.SENDING:
            status = {"fail": 500, "gone": 410, "succeed": 200}[name]
            error = None if name == "succeed" else f"HTTP {status}"
            one = tried(one, Result(at=now, duration_ms=1, status=status, error=error), POLICY, chance)
        assert (one.delivery_id, one.body, one.created_at) == ("msg_1", "{}", NOW)
        assert one.version == before.version + (one != before)
        assert (one.next_at is None) == (one.state not in OPEN)
        assert (one.claimed_by is not None) == (one.state is DeliveryState.SENDING)
        assert len(one.attempts) <= ATTEMPTS_KEPT
        if before.state not in OPEN:
            assert one == before, "what is over stays as it is"


def test_what_could_not_be_sent_for_our_part_is_no_try_and_no_failure() -> None:
    ours = claimed(delivery(tries=3), "me", NOW, POLICY)
    assert ours is not None
    result = Result(at=NOW, duration_ms=7, error="no lookup of names was free", put_off=True)
    after = tried(ours, result, POLICY, 0.5)
    assert (after.state, after.tries, after.attempts) == (DeliveryState.PENDING, 3, ())
    assert (after.next_at, after.claimed_by) == (NOW + 7 + POLICY.put_off_ms, None)
    assert hooks_after(hooks(), after, result, POLICY) is None
