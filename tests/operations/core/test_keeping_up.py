"""How much a replay may put before the readers of its target."""

from operations.core.keeping_up import SPARE, KeepingUp

AT = ("openv.commands", 0)
OTHER = ("openv.commands", 1)


def test_a_little_may_wait_for_readers_of_whom_nothing_is_known() -> None:
    keeping_up = KeepingUp()
    keeping_up.look(0.0, {AT: 100 + SPARE}, {AT: 99})
    assert keeping_up.allows_more({AT: 100 + SPARE})
    assert not keeping_up.allows_more({AT: 101 + SPARE})


def test_readers_that_are_fast_get_more() -> None:
    keeping_up = KeepingUp()
    for second in range(10):
        keeping_up.look(float(second), {AT: 1000 * second + 500}, {AT: 1000 * second})
    assert 250 < keeping_up.limit < 350 + SPARE, "about what is worked off in a moment"


def test_readers_that_become_slow_get_less() -> None:
    keeping_up = KeepingUp()
    applied = 0
    for second in range(20):
        applied += 1000 if second < 10 else 10
        keeping_up.look(float(second), {AT: 100_000}, {AT: applied})
    assert keeping_up.limit < 2 * SPARE


def test_with_nothing_to_do_nobody_is_slow() -> None:
    keeping_up = KeepingUp()
    for second in range(10):
        keeping_up.look(float(second), {AT: 1000 * second + 500}, {AT: 1000 * second})
    before = keeping_up.limit
    for second in range(10, 100):
        keeping_up.look(float(second), {AT: 9_001}, {AT: 9_000})
    assert keeping_up.limit == before
    assert not keeping_up.still_s


def test_what_another_partition_had_applied_before_is_no_speed() -> None:
    keeping_up = KeepingUp()
    keeping_up.look(0.0, {AT: 10}, {AT: 5})
    keeping_up.look(1.0, {AT: 10, OTHER: 1_000_000}, {AT: 5, OTHER: 999_990})
    assert keeping_up.limit == SPARE


def test_a_partition_of_which_nothing_was_applied_counts_whole() -> None:
    keeping_up = KeepingUp()
    keeping_up.look(0.0, {OTHER: SPARE + 1}, {})
    assert not keeping_up.allows_more({OTHER: SPARE + 1})


def test_time_in_which_what_waits_is_not_applied() -> None:
    keeping_up = KeepingUp()
    keeping_up.look(0.0, {AT: 10}, {AT: 5})
    keeping_up.look(30.0, {AT: 10}, {AT: 5})
    keeping_up.look(61.0, {AT: 10}, {AT: 5})
    assert keeping_up.still_s == 61.0
    keeping_up.look(62.0, {AT: 10}, {AT: 6})
    assert not keeping_up.still_s
