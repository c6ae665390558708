"""Records that were written again: their guards ask when they were recorded at first, their effects happen now."""

from dataclasses import replace

import pytest

from schemas.accounts import Role
from schemas.codec import Record
from schemas.commands import CancelJob, DeleteUser, GrantCredits, RedeemVoucher, SetRole
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.jobs import ChargeState
from schemas.lifecycle import State
from schemas.replays import Replayed
from schemas.topics import COMMANDS, DEADLETTER, EVENTS
from streams.core.policy import Policy
from streams.core.recorded import Recorded, first_recorded
from streams.deadletters import CannotProcess, dead_letter
from tests.streams.core.ledger_documents import (
    HOUR,
    NOON,
    SECOND,
    USER,
    Documents,
    cancel,
    delete,
    failed,
    handed_back,
    retry,
    started,
    submit,
    succeeded,
)

DAY = 24 * HOUR
LATER = NOON + 3 * DAY
ASIDE = Recorded(NOON, set_aside=True)
SOON = NOON + 2 * SECOND


def record(headers: tuple[tuple[str, bytes], ...], at: int = LATER) -> Record:
    return Record(COMMANDS.name, 3, 900, at, b"ann", b"{}", headers)


def letter(of: Record) -> tuple[tuple[str, bytes], ...]:
    return dead_letter(of, "openv-ledger", CannotProcess("a mistake of ours")).headers


def told(topic: str = COMMANDS.name, offset: int = 77, at: int = NOON, count: int = 1) -> Replayed:
    return Replayed("r-1", topic, 3, offset, at, count)


FIRST = Record(COMMANDS.name, 3, 77, NOON, b"ann", b"{}", (("ce_id", b"1"),))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), None),
        (told().headers(), Recorded(NOON)),
        (letter(FIRST), Recorded(NOON, set_aside=True)),
        ((*letter(FIRST), *told().headers()), Recorded(NOON, set_aside=True)),
        ((*letter(FIRST), *told(DEADLETTER.name, 4, NOON + 9).headers()), Recorded(NOON, set_aside=True)),
        (told(EVENTS.name).headers(), None),
        (told("a.topic.of.others").headers(), None),
        (letter(replace(FIRST, topic=EVENTS.name)), None),
        (letter(replace(FIRST, timestamp=0)), None),
        (told(at=LATER + DAY).headers(), Recorded(LATER)),
        ((("openv_replay-recorded-at", b"1"),), None),
        ((("kafka_dlt-original-topic", b"openv.commands"), ("kafka_dlt-original-timestamp", b"\xff" * 8)), None),
    ],
)
def test_what_headers_say_of_the_first_time(headers: tuple[tuple[str, bytes], ...], expected: Recorded | None) -> None:
    assert first_recorded(record(headers)) == expected


def test_a_replay_that_failed_is_a_letter_of_something_that_may_have_been_decided() -> None:
    replay = replace(FIRST, offset=900, timestamp=NOON + DAY, headers=told().headers())
    assert first_recorded(record((*letter(replay),))) == Recorded(NOON, set_aside=False)


def test_a_letter_that_fails_again_and_is_redriven_again_keeps_its_first_time() -> None:
    again = Record(COMMANDS.name, 3, 900, NOON + DAY, b"ann", b"{}", (*letter(FIRST), *told().headers()))
    assert first_recorded(record(letter(again))) == Recorded(NOON, set_aside=True)


def test_what_was_set_aside_is_carried_out_however_late_with_effects_of_now() -> None:
    documents = Documents()
    answer = documents.ask(submit(append_by=SOON), now=LATER, recorded=ASIDE)
    job = documents.job()
    assert answer.outcome is Outcome.ADMITTED
    assert (job.created_at, job.due_at, job.charge.reserved_at, job.asked_at) == (LATER, LATER, LATER, NOON)
    assert job.expires_at == LATER + documents.policy.ttl_ms

    documents.do(started(), now=LATER + 1)
    documents.do(succeeded(), now=LATER + 2)
    assert documents.job().state is State.COMPLETED
    for later in (LATER + DAY, LATER + 9 * DAY):
        assert documents.do(submit(append_by=SOON), now=later, recorded=ASIDE).write is None


def test_what_came_too_late_stays_refused() -> None:
    documents = Documents()
    late = Recorded(SOON + 1, set_aside=True)
    assert documents.ask(submit(append_by=SOON), now=LATER, recorded=late).code is FailureCode.TOO_LATE
    assert documents.ask(submit(append_by=SOON), now=LATER).code is FailureCode.TOO_LATE, "not marked: its own time"
    assert documents.jobs == {}


def test_an_operators_pace_is_not_the_users_rate_but_his_other_limits_hold() -> None:
    documents = Documents(policy=Policy(rate_limit=2, max_active=4))
    outcomes = [
        documents.ask(submit(f"j{number}", append_by=SOON), now=LATER + number, recorded=ASIDE).code
        for number in range(5)
    ]
    assert outcomes == [None, None, None, None, FailureCode.CONCURRENCY_EXCEEDED]


def test_a_redriven_cancel_stops_the_redriven_job_that_it_was_meant_for() -> None:
    documents = Documents()
    documents.do(submit(append_by=SOON), now=LATER, recorded=ASIDE)
    asked = Recorded(NOON + 5, set_aside=True)
    wish = CancelJob(command_id="c", user_id=USER, job_id="j1")
    assert documents.ask(wish, now=LATER + 1, recorded=asked).outcome is Outcome.DONE
    assert documents.job().charge.state is ChargeState.REFUNDED


@pytest.mark.parametrize("wish", [cancel(run=None), cancel(run=1), delete(), retry()])
def test_who_was_told_that_there_is_no_job_is_told_so_again_though_it_was_redriven_since(wish: CancelJob) -> None:
    documents = Documents()
    assert documents.ask(wish, now=NOON + 5).outcome is Outcome.NOT_FOUND
    documents.do(submit(append_by=SOON), now=LATER, recorded=ASIDE)
    again = documents.do(wish, now=LATER + 1, recorded=Recorded(NOON + 5))
    assert again.write is None
    assert again.answer is not None
    assert again.answer.outcome is Outcome.NOT_FOUND


def test_a_cancel_that_names_no_run_stops_no_run_that_began_after_it_was_recorded() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    documents.do(cancel(), now=NOON + 10)
    documents.do(retry(), now=NOON + 20)
    unnamed = cancel(run=None)
    for recorded in (Recorded(NOON + 5), Recorded(NOON + 20), Recorded(NOON + 5, set_aside=True)):
        assert documents.do(unnamed, now=LATER, recorded=recorded).write is None
    assert documents.ask(unnamed, now=LATER, recorded=Recorded(NOON + 21)).outcome is Outcome.DONE


def test_a_purge_of_the_waiting_spares_what_was_running_when_it_was_recorded() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    documents.do(started(), now=NOON + 10)
    documents.do(handed_back(), now=NOON + 30)
    purge = CancelJob(command_id="p", user_id=USER, job_id="j1", queued_only=True)
    assert documents.do(purge, now=LATER, recorded=Recorded(NOON + 20, set_aside=True)).write is None
    assert documents.ask(purge, now=LATER, recorded=Recorded(NOON + 40, set_aside=True)).outcome is Outcome.DONE


def test_a_retry_asks_whether_the_run_had_ended_when_it_was_recorded() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    documents.do(cancel(), now=NOON + 10)
    early = Recorded(NOON + 9, set_aside=True)
    assert documents.ask(retry(append_by=SOON), now=LATER, recorded=early).outcome is Outcome.UNCHANGED
    in_time = Recorded(NOON + 11, set_aside=True)
    assert documents.ask(retry(append_by=SOON), now=LATER, recorded=in_time).outcome is Outcome.ADMITTED
    assert (documents.job().run, documents.job().charge.reserved_at) == (2, LATER)
    assert documents.do(retry(append_by=SOON), now=LATER + DAY, recorded=in_time).write is None


def test_a_retry_after_a_cancel_that_was_redriven_is_carried_out_in_their_order() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    documents.do(cancel(), now=NOON + 10)
    documents.do(retry(append_by=SOON), now=LATER, recorded=Recorded(NOON + 20, set_aside=True))
    meant_for_run_2 = CancelJob(command_id="c2", user_id=USER, job_id="j1")
    assert documents.ask(meant_for_run_2, now=LATER + 1, recorded=Recorded(NOON + 30, set_aside=True)).outcome is (
        Outcome.DONE
    )
    assert documents.job().state is State.CANCELLED


def test_a_cancel_is_charged_for_until_it_was_asked_for() -> None:
    documents = Documents(policy=Policy(refund_on_cancel="used"))
    documents.do(submit(frames=61), now=NOON)
    documents.do(started(), now=NOON + SECOND)
    documents.do(cancel(), now=NOON + HOUR, recorded=Recorded(NOON + 2 * SECOND, set_aside=True))
    assert documents.job().charge.seconds == pytest.approx(1.0)


def test_a_refusal_is_given_again_though_there_is_room_by_now() -> None:
    documents = Documents(policy=Policy(max_active=1))
    documents.do(submit("j1"), now=NOON)
    refused = documents.ask(submit("j2", command_id="a"), now=NOON + 1)
    documents.ask(submit("j2", command_id="b"), now=NOON + 2)
    documents.do(cancel("j1"), now=NOON + 3)
    assert refused.outcome is Outcome.REFUSED
    for command_id, at in (("a", NOON + 1), ("b", NOON + 2)):
        again = documents.do(submit("j2", command_id=command_id), now=LATER, recorded=Recorded(at))
        assert again.write is None
        assert again.answer is not None
        assert again.answer.outcome is Outcome.REFUSED
    redriven = submit("j2", command_id="c", append_by=SOON)
    assert documents.ask(redriven, now=LATER, recorded=Recorded(NOON + 4, set_aside=True)).outcome is Outcome.ADMITTED


def test_nothing_that_was_asked_for_before_a_users_deletion_comes_back_with_them() -> None:
    documents = Documents()
    documents.do(submit("kept"), now=NOON)
    documents.do(DeleteUser(command_id="d", user_id=USER, issued_at=NOON + 10), now=NOON + 10)
    assert documents.ask(submit(append_by=SOON), now=LATER, recorded=ASIDE).code is FailureCode.TOO_LATE
    documents.do(SetRole(command_id="r", user_id=USER, role=Role.USER, issued_at=NOON + 20), now=NOON + 20)
    before = documents.account
    for recorded in (ASIDE, Recorded(NOON), Recorded(NOON + 10)):
        assert documents.ask(submit(append_by=SOON), now=LATER, recorded=recorded).code is FailureCode.TOO_LATE
        assert documents.do(retry("kept"), now=LATER, recorded=recorded).write is None
        voucher = RedeemVoucher(command_id="v", user_id=USER, code="x", role=Role.ADMIN, append_by=SOON)
        assert documents.do(voucher, now=LATER, recorded=recorded).write is None
    assert set(documents.jobs) == {"kept"}
    assert documents.account == before

    grant = GrantCredits(command_id="g", user_id=USER, grant_id="g", credits=5.0, reason="a payment")
    answer = documents.ask(grant, now=LATER, recorded=ASIDE)
    assert answer.remaining is not None
    assert answer.remaining.credits == 0.0, "it ended with the account that it was given to"
    assert documents.ask(submit(append_by=SOON), now=LATER, recorded=Recorded(NOON + 21, True)).outcome is (
        Outcome.ADMITTED
    )


def test_a_redriven_voucher_counts_from_when_it_was_redeemed() -> None:
    documents = Documents()
    voucher = RedeemVoucher(command_id="v", user_id=USER, code="x", role=Role.ADMIN, append_by=SOON)
    documents.do(SetRole(command_id="r0", user_id=USER, role=Role.RESTRICTED, issued_at=NOON - 1), now=NOON)
    assert documents.ask(voucher, now=LATER, recorded=ASIDE).outcome is Outcome.DONE
    assert documents.account.role is Role.ADMIN
    documents.do(SetRole(command_id="r1", user_id=USER, role=Role.USER, issued_at=NOON + 1), now=LATER + 1)
    assert documents.account.role is Role.USER, "the word that was issued after it"


def test_reports_of_old_attempts_told_again_change_nothing() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    told_before = [started(), failed(), started("w2", 2), succeeded("w2", 2)]
    for number, report in enumerate(told_before):
        documents.do(report, now=NOON + 10 + number)
    assert documents.job().state is State.COMPLETED
    for number, report in enumerate(told_before):
        assert documents.do(report, now=LATER, recorded=Recorded(NOON + 10 + number)).write is None


@pytest.mark.parametrize("known", [True, False])
def test_what_was_never_set_aside_is_not_decided_again_where_its_document_is_gone(known: bool) -> None:
    """MongoDB was restored from an old backup, not rebuilt, and all commands are replayed."""
    wishes = [
        submit(append_by=SOON),
        RedeemVoucher(command_id="v", user_id=USER, code="x", role=Role.ADMIN, append_by=SOON),
    ]
    for wish in wishes:
        documents = Documents()
        if known:
            documents.do(wish, now=NOON)
        before = dict(documents.jobs), documents.account
        told_again = documents.do(wish, now=LATER, recorded=Recorded(NOON))
        assert told_again.write is None
        assert (dict(documents.jobs), documents.account) == before
        assert told_again.answer is not None
        assert told_again.answer.code is (None if known else FailureCode.TOO_LATE)


def test_a_retry_that_is_told_again_makes_no_run_that_was_forgotten() -> None:
    documents = Documents()
    documents.do(submit(), now=NOON)
    documents.do(cancel(), now=NOON + 10)
    asked = retry(append_by=SOON)
    assert documents.ask(asked, now=LATER, recorded=Recorded(NOON + 20)).code is FailureCode.TOO_LATE
    assert documents.job().run == 1
    assert documents.ask(asked, now=LATER, recorded=Recorded(NOON + 20, set_aside=True)).outcome is Outcome.ADMITTED
