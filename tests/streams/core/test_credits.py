"""Credits: what expires, what is owed, what comes back."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from schemas.accounts import Grant
from schemas.jobs import Charge, ChargeState
from streams.core.credits import balance


def grant(amount: float, at: int, expires_at: int | None = None) -> Grant:
    return Grant(grant_id=f"{at}-{amount}-{expires_at}", credits=amount, granted_at=at, expires_at=expires_at)


def spent(amount: float, at: int) -> Charge:
    return Charge(state=ChargeState.CAPTURED, seconds=1.0, credits=amount, reserved_at=at)


@pytest.mark.parametrize(
    ("grants", "charges", "now", "left"),
    [
        ([], [], 100, 0.0),
        ([grant(5, 1)], [], 100, 5.0),
        ([grant(5, 1)], [spent(2, 2)], 100, 3.0),
        ([grant(5, 1, 50)], [], 49, 5.0),
        ([grant(5, 1, 50)], [], 50, 0.0),
        ([grant(10, 1, 50)], [spent(8, 2)], 60, 0.0),
        ([grant(10, 1, 50), grant(10, 55)], [spent(8, 2)], 60, 10.0),
        ([grant(5, 1), grant(5, 1, 50)], [spent(5, 2)], 60, 5.0),
        ([grant(5, 1), grant(5, 1, 50)], [spent(5, 55)], 60, 0.0),
        ([grant(5, 1), grant(-2, 3)], [], 100, 3.0),
        ([grant(5, 1), grant(-9, 3)], [], 100, -4.0),
        ([grant(5, 1), grant(-9, 3), grant(10, 5)], [], 100, 6.0),
        ([grant(5, 1), grant(-9, 3), grant(10, 5, 50)], [], 60, 0.0),
        ([grant(5, 9, 3)], [], 100, 0.0),
        ([grant(-9, 3), grant(10, 5, 4)], [], 100, -9.0),
        ([grant(0.1, 1), grant(0.2, 1)], [spent(0.3, 2)], 100, 0.0),
    ],
)
def test_by_example(grants: list[Grant], charges: list[Charge], now: int, left: float) -> None:
    assert balance(grants, charges, now) == left


AMOUNTS = st.integers(1, 20).map(float)
GRANTS = st.lists(
    st.builds(grant, AMOUNTS, st.integers(0, 50), st.none() | st.integers(0, 100)),
    max_size=6,
    unique_by=lambda g: g.grant_id,
)
CHARGES = st.lists(st.builds(spent, AMOUNTS, st.integers(0, 100)), max_size=6)


@given(GRANTS, CHARGES, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(grants: list[Grant], charges: list[Charge], chance: object) -> None:
    left = balance(grants, charges, 100)
    chance.shuffle(grants)  # type: ignore[attr-defined]
    chance.shuffle(charges)  # type: ignore[attr-defined]
    assert balance(grants, charges, 100) == left


@given(GRANTS, CHARGES)
def test_bounds(grants: list[Grant], charges: list[Charge]) -> None:
    """Never more than was given, never less than the debt; and nothing expires that was spent."""
    left = balance(grants, charges, 100)
    given_in_all, spent_in_all = sum(g.credits for g in grants), sum(c.credits for c in charges)
    assert -spent_in_all <= left <= given_in_all
    forever = [g for g in grants if g.expires_at is None]
    if len(forever) == len(grants):
        assert left == given_in_all - spent_in_all


@given(GRANTS, CHARGES.filter(bool))
def test_a_refund_never_makes_poorer(grants: list[Grant], charges: list[Charge]) -> None:
    assert balance(grants, charges[1:], 100) >= balance(grants, charges, 100)
