"""What a redeemed voucher makes of an account: every state × every command, in any order, told twice, replayed."""

from dataclasses import replace
from itertools import permutations

import pytest

from schemas.accounts import Account, Role, VoucherUse
from schemas.commands import AccountCommand, DeleteUser, RedeemVoucher, SetBlocked, SetRole
from schemas.events import Outcome
from schemas.failures import FailureCode
from schemas.lifecycle import State
from streams.core.ledger import new_account
from tests.streams.core.ledger_documents import NEVER, NOON, USER, Documents, submit

R = Role


def redeem(
    code: str = "SPRING", command_id: str = "v", *, gives: Role = R.USER, append_by: int = NEVER
) -> RedeemVoucher:
    return RedeemVoucher(command_id=command_id, user_id=USER, code=code, role=gives, append_by=append_by)


def role(name: Role, issued_at: int) -> SetRole:
    return SetRole(command_id=f"r{issued_at}", user_id=USER, role=name, issued_at=issued_at)


def delete_user(issued_at: int) -> DeleteUser:
    return DeleteUser(command_id=f"d{issued_at}", user_id=USER, issued_at=issued_at)


def use(code: str = "SPRING", by: str = "v", at: int = NOON - 5) -> VoucherUse:
    return VoucherUse(code=code, command_id=by, used_at=at)


ACCOUNTS = {
    "never heard of": new_account(USER),
    "default": Account(user_id=USER, version=1),
    "restricted": Account(user_id=USER, version=1, role=R.RESTRICTED, role_issued_at=NOON - 9),
    "user": Account(user_id=USER, version=1, role=R.USER, role_issued_at=NOON - 9),
    "admin": Account(user_id=USER, version=1, role=R.ADMIN, role_issued_at=NOON - 9),
    "restricted this instant": Account(user_id=USER, version=1, role=R.RESTRICTED, role_issued_at=NOON),
    "restricted later": Account(user_id=USER, version=1, role=R.RESTRICTED, role_issued_at=NOON + 1),
    "blocked": Account(user_id=USER, version=1, blocked=True, role=R.RESTRICTED, role_issued_at=NOON - 9),
    "deleted": Account(
        user_id=USER, version=1, deleted_at=NOON - 3, deleted_issued_at=NOON - 9, role_issued_at=NOON - 9
    ),
    "has used it": Account(user_id=USER, version=1, vouchers=(use(),)),
    "has used it elsewhere": Account(user_id=USER, version=1, vouchers=(use(by="another"),)),
    "has used another": Account(user_id=USER, version=1, vouchers=(use("WINTER", "another"),)),
}
OK, LATE, USED = "done", FailureCode.TOO_LATE.value, FailureCode.VOUCHER_USED.value
# state × input: the answer (an outcome, or the code of a refusal) and the role after; None: nothing is written.
TABLE: dict[str, dict[str, tuple[str, Role | None]]] = {
    "never heard of": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "default": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "restricted": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "user": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "admin": {"user": (OK, R.ADMIN), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "restricted this instant": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "restricted later": {"user": (LATE, None), "admin": (LATE, None), "late": (LATE, None)},
    "blocked": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
    "deleted": {"user": (OK, R.USER), "admin": (OK, R.USER), "late": (LATE, None)},
    "has used it": {"user": (OK, None), "admin": (OK, None), "late": (OK, None)},
    "has used it elsewhere": {"user": (USED, None), "admin": (USED, None), "late": (USED, None)},
    "has used another": {"user": (OK, R.USER), "admin": (OK, R.ADMIN), "late": (LATE, None)},
}
INPUTS = {"user": redeem(), "admin": redeem(gives=R.ADMIN), "late": redeem(append_by=NOON - 1)}


def test_the_table_has_every_state_and_every_input() -> None:
    assert set(TABLE) == set(ACCOUNTS)
    assert all(set(row) == set(INPUTS) for row in TABLE.values())


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("state", ACCOUNTS)
def test_every_state_and_every_input(state: str, given: str) -> None:
    documents = Documents(account=ACCOUNTS[state])
    before, command = documents.account, INPUTS[given]
    said, after = TABLE[state][given]
    first = documents.do(command)
    assert first.answer is not None
    assert (first.answer.code.value if first.answer.code else first.answer.outcome.value) == said
    assert (first.answer.outcome is Outcome.REFUSED) == (first.answer.code is not None)
    if after is None:
        assert (first.write, documents.account) == (None, before)
    else:
        kept = VoucherUse(code=command.code, command_id=command.command_id, used_at=NOON, role=command.role)
        assert documents.account == replace(
            before, version=before.version + 1, role=after, vouchers=(*before.vouchers, kept)
        )
        assert first.account == documents.account, "announced"
    again = documents.decision(command)
    assert (again.write, again.answer) == (None, first.answer), "the same command is answered the same"


def test_a_code_counts_once_a_user_whatever_races() -> None:
    documents = Documents()
    answers = [documents.ask(redeem(command_id=f"v{n}"), now=NOON + n) for n in range(20)]
    assert [answer.outcome for answer in answers] == [Outcome.DONE] + [Outcome.REFUSED] * 19
    assert {answer.code for answer in answers[1:]} == {FailureCode.VOUCHER_USED}
    assert [one.command_id for one in documents.account.vouchers] == ["v0"]
    assert documents.ask(redeem("spring", "other"), now=NOON + 30).outcome is Outcome.DONE, "as written, no other case"


def test_a_restricted_user_makes_videos_after_it_and_not_before() -> None:
    documents = Documents(account=ACCOUNTS["restricted"])
    assert documents.ask(submit("j1")).code is FailureCode.ACCOUNT_BLOCKED
    documents.do(redeem())
    documents.do(submit("j2"), now=NOON + 1)
    assert documents.job("j2").state is State.QUEUED


def test_a_voucher_does_not_unblock() -> None:
    documents = Documents()
    documents.do(SetBlocked(command_id="b", user_id=USER, blocked=True, issued_at=1))
    documents.do(redeem())
    assert documents.ask(submit()).code is FailureCode.ACCOUNT_BLOCKED


@pytest.mark.parametrize(
    ("set_to", "issued_at", "wanted"),
    [
        (R.RESTRICTED, NOON + 5, R.RESTRICTED),  # an operator's later word stays
        (R.RESTRICTED, NOON - 5, R.USER),  # an earlier one that arrives late does not take the voucher back
        (R.ADMIN, NOON - 5, R.ADMIN),  # nor does the voucher lower it
        (R.ADMIN, NOON + 5, R.ADMIN),
    ],
)
def test_the_role_is_the_newest_word_in_whatever_order_words_arrive(set_to: Role, issued_at: int, wanted: Role) -> None:
    late = Documents()
    late.do(redeem())
    late.do(role(set_to, issued_at), now=NOON + 10)
    early = Documents()
    early.do(role(set_to, issued_at))
    early.do(redeem(append_by=NEVER), now=NOON + 5)
    assert late.account.role is wanted
    assert early.account.role is (R.USER if set_to is R.RESTRICTED else wanted)


def test_the_end_is_the_same_in_every_order_of_arrival() -> None:
    commands: tuple[AccountCommand, ...] = (
        role(R.RESTRICTED, NOON - 30),
        role(R.ADMIN, NOON - 20),
        role(R.RESTRICTED, NOON - 10),
        redeem("A", "a"),
        redeem("B", "b"),
    )
    ends = set()
    for order in permutations(commands):
        documents = Documents()
        for command in order:
            documents.do(command)
        account = documents.account
        ends.add((account.role, account.role_issued_at, frozenset(one.code for one in account.vouchers)))
    assert ends == {(R.USER, NOON - 10, frozenset("AB"))}


def test_a_voucher_redeemed_while_a_deletion_is_on_its_way_does_not_undo_it() -> None:
    """The provider's word is minutes old when it arrives; the user's last tab has redeemed a code meanwhile."""
    documents = Documents()
    documents.do(role(R.RESTRICTED, NOON - 100))
    documents.do(submit("j1"))
    documents.do(redeem(), now=NOON)
    assert documents.ask(delete_user(NOON - 10), now=NOON + 60_000).outcome is Outcome.DONE
    assert documents.account.deleted_at == NOON + 60_000


def test_a_deleted_user_stays_deleted_and_one_who_comes_back_has_what_is_given_then() -> None:
    documents = Documents()
    documents.do(redeem("A", "a"))
    documents.do(delete_user(NOON + 10), now=NOON + 10)
    documents.do(redeem("B", "b", gives=R.ADMIN), now=NOON + 20)
    assert (documents.account.deleted_at, documents.account.role) == (NOON + 10, R.USER)
    documents.do(role(R.RESTRICTED, NOON + 30), now=NOON + 30)
    assert (documents.account.deleted_at, documents.account.role) == (None, R.RESTRICTED)
    assert documents.ask(redeem("A", "c"), now=NOON + 40).code is FailureCode.VOUCHER_USED
    documents.do(redeem("C", "d"), now=NOON + 40)
    assert documents.account.role is R.USER


def test_the_whole_log_replayed_over_the_finished_documents_changes_nothing() -> None:
    log: list[tuple[AccountCommand, int]] = [
        (redeem("A", "a"), NOON),
        (redeem("A", "b"), NOON + 1),
        (role(R.RESTRICTED, NOON + 2), NOON + 2),
        (redeem("B", "c", append_by=NOON), NOON + 3),
        (redeem("B", "d"), NOON + 4),
        (role(R.ADMIN, NOON + 9), NOON + 5),
        (redeem("C", "e"), NOON + 6),  # refused: recorded before the role was issued
        (delete_user(NOON + 20), NOON + 20),
        (redeem("D", "f"), NOON + 21),
        (role(R.RESTRICTED, NOON + 21), NOON + 40),  # an old word that revives late
        (redeem("E", "g"), NOON + 41),
    ]
    documents = Documents()
    answers = [documents.ask(command, now=at) for command, at in log]
    finished = documents.account
    for (command, at), answer in zip(log, answers, strict=True):
        again = documents.decision(command, at)
        assert again.write is None, command
        if isinstance(command, RedeemVoucher) and answer.code is not FailureCode.TOO_LATE:
            assert again.answer is not None
            assert (again.answer.outcome, again.answer.code) == (answer.outcome, answer.code)
    assert documents.account == finished
    assert [one.code for one in finished.vouchers] == ["A", "B", "D", "E"]
