"""The ledger: who may, and what happened. One pure function decides every command of a user.

``decide`` looks at the user's documents, the command, the record's time and the deployment's policy, and says what to
write, announce and answer. States change by ``schemas/lifecycle.py`` alone; guards live beside what they guard:
``admission.py`` (submit, manual retry), ``reports.py`` (attempts), ``endings.py`` (cancel, timeout, delete),
``account_commands.py``; ``usage.py`` only tells. Deciding the same command again on what the first decision wrote
changes nothing and answers the same, so that at-least-once delivery comes out effectively once.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from schemas.accounts import Account
from schemas.commands import (
    AnyCommand,
    AskUsage,
    AttemptFailed,
    AttemptHandedBack,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    CancelJob,
    DeleteJob,
    DeleteUser,
    GrantCredits,
    JobExpired,
    RedeemVoucher,
    RetryJob,
    SetBlocked,
    SetOverrides,
    SetRole,
    SubmitJob,
)
from streams.core.account_commands import (
    delete_user,
    grant_credits,
    redeem_voucher,
    set_blocked,
    set_overrides,
    set_role,
)
from streams.core.admission import retry, submit
from streams.core.case import Case, opened
from streams.core.effects import Decision, UserView
from streams.core.endings import cancel, delete, expire
from streams.core.policy import Policy
from streams.core.recorded import Recorded
from streams.core.reports import report
from streams.core.usage import usage

DECIDES: Mapping[type, Callable[[Case, Any], Decision]] = MappingProxyType(
    {
        SubmitJob: submit,
        RetryJob: retry,
        AskUsage: usage,
        CancelJob: cancel,
        DeleteJob: delete,
        JobExpired: expire,
        AttemptStarted: report,
        AttemptSucceeded: report,
        AttemptFailed: report,
        AttemptHandedBack: report,
        AttemptLost: report,
        GrantCredits: grant_credits,
        SetOverrides: set_overrides,
        SetRole: set_role,
        RedeemVoucher: redeem_voucher,
        SetBlocked: set_blocked,
        DeleteUser: delete_user,
    }
)


def decide(
    view: UserView, command: AnyCommand, now: int, policy: Policy, stamp: int, recorded: Recorded | None = None
) -> Decision:
    """The decision on one command. ``now``: the record's time, ``stamp``: the time of the write; both in ms;
    ``recorded``: when it was first recorded, where the record repeats another.

    ``view`` holds the command's user: the account, the jobs that count (``retention.py``) and all that are active,
    the jobs that ``account.pending`` and the command name (another user's too, if it is one), and for ``DeleteUser``
    every job. Raises ``ValueError`` for a view of another user.
    """
    if command.user_id != view.account.user_id:
        raise ValueError("the view is not of the command's user")
    return DECIDES[type(command)](opened(view, now, policy, stamp, recorded), command)


def new_account(user_id: str) -> Account:
    """The account of a user who has none stored: version 0, so that its first write inserts it."""
    return Account(user_id=user_id)
