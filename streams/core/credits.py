"""A user's credits: a fold over grants and charges in the order of time.

A charge takes from the grants that were valid when it was reserved, the one that expires first before the others, so
what expires is only what was left. A negative grant takes like a charge. What no grant covers is a debt, paid by the
next grant. A refunded charge is simply not in the fold: its credits are back in the grant that they came from, which
may have expired since.
"""

from collections.abc import Iterable

from schemas.accounts import Grant
from schemas.jobs import Charge

NEVER = 2**63


class _Lot:
    """What is left of one grant."""

    __slots__ = ("expires_at", "left")

    def __init__(self, left: float, expires_at: int) -> None:
        self.left = left
        self.expires_at = expires_at


def balance(grants: Iterable[Grant], counting: Iterable[Charge], now: int) -> float:
    """Credits that may be spent at ``now`` (ms), to six decimals; negative where more was taken than given.

    ``counting`` must reach back to the first grant: ``reach_for`` in ``streams/core/retention.py`` sees to it.
    """
    moves = [(g.granted_at, 0, g.grant_id, g.credits, NEVER if g.expires_at is None else g.expires_at) for g in grants]
    moves += [(c.reserved_at, 1, "", -c.credits, NEVER) for c in counting if c.credits]
    lots: list[_Lot] = []
    debt = 0.0
    for at, _, _, amount, expires_at in sorted(moves):
        if amount < 0:
            debt += _take(lots, -amount, at)
        elif expires_at > at:
            paid = min(debt, amount)
            debt -= paid
            lots.append(_Lot(amount - paid, expires_at))
            lots.sort(key=lambda lot: lot.expires_at)
    return round(sum(lot.left for lot in lots if lot.expires_at > now) - debt, 6)


def _take(lots: list[_Lot], amount: float, at: int) -> float:
    """Take from the lots valid at ``at``; returns what they did not cover."""
    for lot in lots:
        if lot.expires_at > at:
            taken = min(lot.left, amount)
            lot.left -= taken
            amount -= taken
    return amount
