"""The queue of many speakers: whose words come when, which are lost, and how fast one may speak."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.fair_queue import FairQueue, Pace


def filled(queue: FairQueue[str], **counts: int) -> FairQueue[str]:
    for name, count in counts.items():
        for number in range(count):
            queue.put(name, f"{name}{number}")
    return queue


def test_speakers_have_turns_and_each_keeps_its_order() -> None:
    queue = filled(FairQueue(100), a=5, b=2, c=1)
    assert queue.take(100, 0.0) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]
    assert queue.take(100, 0.0) == []
    assert len(queue) == 0


def test_whoever_was_served_comes_after_those_who_were_not() -> None:
    queue = filled(FairQueue(100), a=9, b=9, c=9)
    assert queue.take(2, 0.0) == ["a0", "b0"]
    assert queue.take(2, 0.0) == ["c0", "a1"]
    assert queue.take(2, 0.0) == ["b1", "c1"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40)), max_size=12), st.integers(4, 9))
def test_one_word_waits_for_one_take_however_many_others_say(said: list[tuple[str, int]], most: int) -> None:
    queue: FairQueue[str] = FairQueue(1_000)
    for name, count in said:
        for number in range(count):
            queue.put(name, f"{name}{number}")
    queue.put("z", "z0")
    assert "z0" in queue.take(most + 1, 0.0)


def test_who_says_too_much_loses_its_own_oldest_words_alone() -> None:
    queue = filled(FairQueue(3), a=5, b=3)
    assert queue.waiting("a") == queue.waiting("b") == 3
    assert queue.healed() == [], "what is left of its words comes first"
    assert queue.take(100, 0.0) == ["a2", "b0", "a3", "b1", "a4", "b2"]
    assert queue.healed() == ["a"]
    assert queue.healed() == []


def test_none_is_faster_than_its_pace_and_that_delays_no_other() -> None:
    queue = filled(FairQueue(100, Pace(at_once=3, per_second=2)), a=10)
    assert queue.take(100, 50.0) == ["a0", "a1", "a2"]
    assert queue.next_in(50.0) == pytest.approx(0.5)
    queue.put("b", "b0")
    assert queue.next_in(50.0) == 0
    assert queue.take(100, 50.0) == ["b0"]
    assert queue.take(100, 50.5) == ["a3"]
    assert queue.take(100, 52.0) == ["a4", "a5", "a6"]
    assert queue.take(100, 1_000.0) == ["a7", "a8", "a9"], "no more at once, however long the silence"
    assert queue.next_in(1_000.0) is None


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    queue = filled(FairQueue(100, Pace(at_once=1, per_second=1)), a=3)
    assert queue.take(100, 10.0) == ["a0"]
    assert queue.take(100, 9.0) == []
    assert queue.take(100, 10.9) == []
    assert queue.take(100, 11.0) == ["a1"]


def test_in_a_hurry_all_is_said() -> None:
    queue = filled(FairQueue(100, Pace(at_once=1, per_second=1)), a=3, b=2)
    assert queue.take(4, None) == ["a0", "b0", "a1", "b1"]
    assert queue.take(4, None) == ["a2"]


def test_silence_of_one_who_spoke_too_fast_is_remembered_and_all_else_forgotten() -> None:
    queue = filled(FairQueue(100, Pace(at_once=2, per_second=1)), a=2)
    queue.take(100, 0.0)
    queue.put("a", "more")
    assert queue.take(100, 0.5) == [], "an empty queue gives nobody a new start"
    assert queue.take(100, 1.0) == ["more"]
    for number in range(50):
        queue.put(f"other-{number}", "word")
    queue.take(100, 2.0)
    queue.take(100, 100.0)
    assert not queue._speakers


def test_after_an_outage_nothing_waits_and_nothing_counts_as_lost() -> None:
    queue = filled(FairQueue(3), a=5)
    queue.clear()
    assert len(queue) == 0
    assert queue.healed() == []
