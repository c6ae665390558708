"""The outbox: order and bounds of what waits for a socket."""

from gateway.core.frame import Frame
from gateway.core.outbox import Outbox


def f(text: str) -> Frame:
    return Frame("test", text.encode())


def drain(outbox: Outbox, at_once: int = 1) -> list[str]:
    taken: list[str] = []
    while frames := outbox.take(at_once):
        taken += [frame.text.decode() for frame in frames]
    return taken


def test_frames_keep_their_order_and_go_before_progress() -> None:
    outbox = Outbox(10, 1_000)
    outbox.conflate("j", "progress", f("p"))
    assert outbox.put(f("a"))
    assert outbox.put(f("b"))
    assert len(outbox) == 3
    assert drain(outbox) == ["a", "b", "p"]


def test_only_the_newest_progress_of_a_job_and_kind_waits() -> None:
    outbox = Outbox(10, 1_000)
    for step in range(50):
        outbox.conflate("j", "progress", f(f"p{step}"))
        outbox.conflate("j", "preview", f(f"v{step}"))
    outbox.conflate("k", "progress", f("other"))
    assert drain(outbox) == ["p49", "v49", "other"]


def test_progress_is_superseded_by_an_event_of_its_job_alone() -> None:
    outbox = Outbox(10, 1_000)
    outbox.conflate("j", "progress", f("p"))
    outbox.conflate("k", "progress", f("q"))
    outbox.supersede("j")
    assert drain(outbox) == ["q"]


def test_a_frame_that_does_not_fit_is_refused_never_another_dropped() -> None:
    outbox = Outbox(2, 1_000)
    assert [outbox.put(f(text)) for text in "abc"] == [True, True, False]
    assert drain(outbox) == ["a", "b"]
    outbox = Outbox(10, 4)
    assert outbox.put(f("123"))
    assert not outbox.put(f("45"))
    assert drain(outbox) == ["123"]
    assert outbox.put(f("a frame alone always fits"))


def test_a_measured_replay_always_fits() -> None:
    outbox = Outbox(2, 4)
    assert all(outbox.put(f("frame"), whole=True) for _ in range(9))
    assert len(drain(outbox)) == 9
    assert outbox.put(f("1234"))


def test_progress_of_endless_jobs_is_bounded_and_clearing_leaves_nothing() -> None:
    outbox = Outbox(8, 1_000)
    for n in range(100):
        outbox.conflate(f"j{n}", "progress", f("p"))
    assert len(outbox) == 8
    outbox.put(f("a"))
    outbox.clear()
    assert drain(outbox) == []
    assert outbox.put(f("x" * 1_000))


def test_as_much_is_taken_at_once_as_is_asked_for_but_at_least_one() -> None:
    outbox = Outbox(10, 1_000)
    for text in ("1234", "5678", "9", "0"):
        outbox.put(f(text))
    outbox.conflate("j", "progress", f("p"))
    assert [[frame.text.decode() for frame in outbox.take(5)] for _ in range(3)] == [
        ["1234", "5678"],
        ["9", "0", "p"],
        [],
    ]
    outbox.put(f("x" * 100))
    assert len(outbox.take(1)) == 1
    assert outbox.bytes == 0


def test_it_is_crowded_when_it_is_half_full() -> None:
    outbox = Outbox(4, 100)
    assert not outbox.is_crowded
    outbox.put(f("x"))
    assert not outbox.is_crowded
    outbox.put(f("x"))
    assert outbox.is_crowded
    outbox.take(100)
    outbox.put(f("x" * 50))
    assert outbox.is_crowded
