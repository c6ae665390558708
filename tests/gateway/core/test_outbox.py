"""The outbox: order and bounds of what waits for a socket."""

from gateway.core.outbox import Outbox


def drain(outbox: Outbox) -> list[str]:
    taken = []
    while (frame := outbox.take()) is not None:
        taken.append(frame)
    return taken


def test_frames_keep_their_order_and_go_before_progress() -> None:
    outbox = Outbox(10, 1_000)
    outbox.conflate("j", "progress", "p")
    assert outbox.put("a")
    assert outbox.put("b")
    assert len(outbox) == 3
    assert drain(outbox) == ["a", "b", "p"]


def test_only_the_newest_progress_of_a_job_and_kind_waits() -> None:
    outbox = Outbox(10, 1_000)
    for step in range(50):
        outbox.conflate("j", "progress", f"p{step}")
        outbox.conflate("j", "preview", f"v{step}")
    outbox.conflate("k", "progress", "other")
    assert drain(outbox) == ["p49", "v49", "other"]


def test_progress_is_superseded_by_an_event_of_its_job_alone() -> None:
    outbox = Outbox(10, 1_000)
    outbox.conflate("j", "progress", "p")
    outbox.conflate("k", "progress", "q")
    outbox.supersede("j")
    assert drain(outbox) == ["q"]


def test_a_frame_that_does_not_fit_is_refused_never_another_dropped() -> None:
    outbox = Outbox(2, 1_000)
    assert [outbox.put(text) for text in "abc"] == [True, True, False]
    assert drain(outbox) == ["a", "b"]
    outbox = Outbox(10, 4)
    assert outbox.put("123")
    assert not outbox.put("45")
    assert outbox.take() == "123"
    assert outbox.put("a frame alone always fits")


def test_a_measured_replay_always_fits() -> None:
    outbox = Outbox(2, 4)
    assert all(outbox.put("frame", whole=True) for _ in range(9))
    assert len(drain(outbox)) == 9
    assert outbox.put("1234")


def test_progress_of_endless_jobs_is_bounded_and_clearing_leaves_nothing() -> None:
    outbox = Outbox(8, 1_000)
    for n in range(100):
        outbox.conflate(f"j{n}", "progress", "p")
    assert len(outbox) == 8
    outbox.put("a")
    outbox.clear()
    assert drain(outbox) == []
    assert outbox.put("x" * 1_000)
