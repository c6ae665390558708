"""When a child is given up, and when the next one starts."""

from dataclasses import replace

from inference_worker.core.child_life import ChildLife, ChildPhase, excused_silence, gone, heard, overdue, started, up
from inference_worker.core.limits import Limits
from inference_worker.messages import Heartbeat, Loading

LIMITS = Limits()


def test_each_death_in_a_row_doubles_the_delay_and_the_fifth_wears_it_out() -> None:
    life, now, delays = ChildLife(start_at=0), 0, []
    for _ in range(6):
        life = gone(started(life, now), now, LIMITS)
        delays.append(life.start_at - now)
        now = life.start_at
    assert delays == [1_000, 2_000, 4_000, 8_000, 60_000, 60_000]
    assert life.worn_out(LIMITS)


def test_one_that_held_out_long_was_not_broken_from_the_start() -> None:
    life = replace(ChildLife(start_at=0), deaths=4)
    life = gone(up(started(life, 10), 10), 10 + LIMITS.proven_ms, LIMITS)
    assert life.deaths == 1
    assert not life.worn_out(LIMITS)


def test_one_that_we_ended_ourselves_is_replaced_at_once() -> None:
    life = gone(replace(started(ChildLife(start_at=0), 0), phase=ChildPhase.DYING, excused=True), 500, LIMITS)
    assert (life.deaths, life.start_at) == (0, 500)


def test_an_unloadable_model_is_tried_again_after_long() -> None:
    life = gone(replace(started(ChildLife(start_at=0), 0), unloadable=True), 500, LIMITS)
    assert life.start_at == 500 + LIMITS.defunct_ms
    assert not up(started(life, 60_500), 61_000).unloadable


def test_silence_is_borne_longer_before_the_first_word() -> None:
    life = started(ChildLife(start_at=0), 0)
    assert overdue(life, False, LIMITS.silent_ms, LIMITS) is None
    assert "said nothing for 120 s" in str(overdue(life, False, LIMITS.first_word_ms, LIMITS))
    life = heard(life, Heartbeat(progress=0), 1_000)
    assert "said nothing for 30 s" in str(overdue(life, False, 1_000 + LIMITS.silent_ms, LIMITS))


def test_a_beating_heart_without_a_step_is_stuck_only_where_there_is_work() -> None:
    life = heard(up(started(ChildLife(start_at=0), 0), 0), Heartbeat(progress=0), LIMITS.stalled_ms)
    assert overdue(life, False, LIMITS.stalled_ms, LIMITS) is None
    assert "did not get on for 900 s" in str(overdue(life, True, LIMITS.stalled_ms, LIMITS))
    life = heard(life, Heartbeat(progress=1), LIMITS.stalled_ms)
    assert overdue(life, True, LIMITS.stalled_ms, LIMITS) is None


def test_loading_has_its_own_patience() -> None:
    life = heard(started(ChildLife(start_at=0), 0), Loading(engine="tiny", step=0, steps=3), 100)
    life = heard(life, Heartbeat(progress=0), LIMITS.load_stalled_ms)
    assert overdue(life, False, LIMITS.load_stalled_ms, LIMITS) is None
    assert overdue(heard(life, Heartbeat(progress=0), 3_600_100), False, 3_600_100, LIMITS)


def test_an_absent_or_dying_child_is_never_overdue() -> None:
    life = started(ChildLife(start_at=0), 0)
    for phase in (ChildPhase.ABSENT, ChildPhase.DYING):
        assert overdue(replace(life, phase=phase), True, 10**9, LIMITS) is None


def test_no_silence_counts_while_we_did_not_listen() -> None:
    life = excused_silence(up(started(ChildLife(start_at=0), 0), 0), 10**9)
    assert overdue(life, True, 10**9, LIMITS) is None
