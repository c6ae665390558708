"""A user's account in words, for people."""

from collections.abc import Mapping

from schemas.accounts import Account
from schemas.instants import to_datetime
from schemas.jobs import Remaining


def own_limits(account: Account) -> Mapping[str, float]:
    """Those that are the user's own, by the options that set them."""
    own = account.overrides
    values = {
        "seconds": own.monthly_limit_seconds,
        "max-active": own.max_active,
        "rate": own.rate_limit,
        "rate-window": None if own.rate_window_ms is None else own.rate_window_ms / 1000,
    }
    return {name: value for name, value in values.items() if value is not None}


def limits_in_words(account: Account) -> str:
    """Or ``none``."""
    return ", ".join(f"{words} {value:g}" for words, value in own_limits(account).items()) or "none"


def left_in_words(left: Remaining | None) -> str:
    """A sentence with a blank before it, or nothing."""
    if left is None:
        return ""
    return f" {left.remaining_seconds:g} of {left.limit_seconds:g} seconds are left in this period."


def stored_in_words(account: Account) -> dict[str, str]:
    """What the account says."""
    if not account.version:
        return {"user": account.user_id, "account": "none is stored: the deployment's defaults hold"}
    return {
        "user": account.user_id,
        "role": account.role if account.role_is_set else "not set: the deployment's default",
        "blocked": "yes" if account.blocked else "no",
        "deleted": minute(account.deleted_at) if account.deleted_at is not None else "no",
        "own limits": limits_in_words(account),
        "vouchers": ", ".join(use.code for use in account.vouchers) or "none",
        "grants": grants_in_words(account),
    }


def grants_in_words(account: Account) -> str:
    """Each with its id, the newest last."""
    return ", ".join(f"{one.credits:g} ({one.grant_id})" for one in account.grants) or "none"


def standing_in_words(left: Remaining | None) -> dict[str, str]:
    """Where the user stands, as the ledger says; None: it did not answer."""
    if left is None:
        return {"usage": "not known: no ledger answers (`openv streams` runs one)"}
    until = minute(left.period_end) if left.period_end is not None else "–"
    return {
        "usage": f"{left.used_seconds:g} of {left.limit_seconds:g} seconds, {left.remaining_seconds:g} left",
        "period": f"{minute(left.period_start)} to {until} UTC",
        "under way": f"{left.active} of {left.max_active} videos",
        "credits": f"{left.credits:g}",
    }


def clean(reason: str) -> str:
    """Text that can be written down: a terminal may pass on bytes that are no characters."""
    return reason.encode(errors="replace").decode()


def minute(at: int) -> str:
    """UTC."""
    return f"{to_datetime(at):%Y-%m-%d %H:%M}"
