"""Who may be sent to next, by what is under way."""

from dataclasses import replace

import pytest

from schemas.deliveries import MAIL
from streams.core.deliveries import SendingPolicy
from streams.core.turns import Places, Running, mails_free, places

NOW = 1_790_000_000_000
POLICY = SendingPolicy(at_once=14, mails=4)  # ten for webhooks
OLD = NOW - POLICY.slow_ms


def running(*whose: str, since: int = NOW) -> list[Running]:
    """``ann.1``: of ann, to her first endpoint."""
    return [Running(one.split(".")[0], one, since) for one in whose]


def mails(count: int) -> list[Running]:
    return [Running(f"m{number}", MAIL, NOW) for number in range(count)]


@pytest.mark.parametrize(("held", "free"), [(0, 4), (3, 1), (4, 0), (5, 0)])
def test_mails_have_places_that_no_webhook_takes(held: int, free: int) -> None:
    webhooks = running(*(f"u{number}.1" for number in range(10)))
    assert mails_free([*webhooks, *mails(held)], POLICY) == free
    assert places([*webhooks, *mails(held)], (), NOW, 4, POLICY).webhooks == 0
    assert places(mails(held), (), NOW, 4, POLICY) == Places(webhooks=10, not_to=frozenset({MAIL}))


@pytest.mark.parametrize(
    ("under_way", "most", "passed_over"),
    [
        ((), 1, set()),
        (("ann.1",), 1, {"ann"}),
        (("ann.1",), 2, set()),
        (("ann.1", "ann.2", "bob.1"), 2, {"ann"}),
        (("ann.1", "ann.2", "ann.3", "ann.4", "bob.1"), 9, {"ann"}),
    ],
)
def test_users_with_few_under_way_come_first(under_way: tuple[str, ...], most: int, passed_over: set[str]) -> None:
    assert places(running(*under_way), (), NOW, most, POLICY).not_of == passed_over


@pytest.mark.parametrize(
    ("under_way", "doubted", "full"),
    [
        (("ann.1",), (), set()),
        (("ann.1", "ann.1"), (), {"ann.1"}),
        (("ann.1",), ("ann.1", "bob.1"), {"ann.1"}),
    ],
)
def test_an_endpoint_that_failed_has_one_place(
    under_way: tuple[str, ...], doubted: tuple[str, ...], full: set[str]
) -> None:
    assert places(running(*under_way), doubted, NOW, 4, POLICY).not_to == {MAIL, *full}


FIVE = tuple(f"u{number}.1" for number in range(5))
PAIRS = tuple(f"u{number}.{which}" for number in range(5) for which in (1, 2))


@pytest.mark.parametrize(
    ("under_way", "since", "doubted", "held"),
    [
        (FIVE, NOW, (), False),
        (FIVE, OLD + 1, (), False),
        (FIVE, OLD, (), True),  # all are slow
        (FIVE[:4], OLD, (), False),
        (FIVE, NOW, FIVE, True),  # all have failed before
        (FIVE, NOW, FIVE[1:], False),
        (PAIRS, NOW, (), True),  # second ones
        (PAIRS[:9], NOW, (), False),
    ],
)
def test_when_half_is_held_by_what_is_suspect_only_others_are_begun(
    under_way: tuple[str, ...], since: int, doubted: tuple[str, ...], held: bool
) -> None:
    doubted = (*doubted, "zoe.1")
    now = places(running(*under_way, since=since), doubted, NOW, 4, POLICY)
    assert ("u0" in now.not_of) is held
    assert ("zoe.1" in now.not_to) is held
    free = len(under_way) < 10
    assert now.take("new", "new.1") is free
    assert now.take("zoe", "zoe.1") is (free and not held)


def test_there_are_never_more_than_there_are_places() -> None:
    assert places(running(*PAIRS, *FIVE), (), NOW, 4, POLICY).webhooks == 0
    assert places([], (), NOW, 4, replace(POLICY, at_once=2)).webhooks == 0
