"""The hub: who watches what, and what is remembered of progress."""

from gateway.core.frame import Frame
from gateway.core.hub import ENCODINGS, ENDED_MAX, Hub
from gateway.core.inputs import Progress
from schemas.lifecycle import State


def progress(job: str, frame: str = "frame", kind: str = "progress") -> Progress:
    return Progress(job, kind, Frame(kind, frame.encode()))


def test_watchers_are_those_of_the_user() -> None:
    hub: Hub[str] = Hub(1_000)
    hub.watch("ada", "a1")
    hub.watch("ada", "a2")
    hub.watch("ada", "a1")
    hub.watch("bob", "b1")
    assert hub.watchers("ada") == ("a1", "a2")
    assert dict(hub.everyone()) == {"ada": ("a1", "a2"), "bob": ("b1",)}
    hub.unwatch("ada", "a1")
    hub.unwatch("bob", "b1")
    hub.unwatch("eve", "e1")
    assert dict(hub.everyone()) == {"ada": ("a2",)}


def test_the_newest_of_each_kind_is_remembered_for_its_user() -> None:
    hub: Hub[str] = Hub(1_000)
    assert hub.progressed("ada", 1, progress("j", "old"))
    assert hub.progressed("ada", 1, progress("j", "new"))
    assert hub.progressed("ada", 1, progress("j", "picture", "preview"))
    assert [p.frame.text.decode() for p in hub.newest("ada")] == ["new", "picture"]
    assert hub.newest("bob") == []


def test_an_older_attempt_says_nothing_any_more() -> None:
    hub: Hub[str] = Hub(1_000)
    hub.progressed("ada", 1, progress("j", "first", "preview"))
    assert hub.progressed("ada", 2, progress("j", "second"))
    assert not hub.progressed("ada", 1, progress("j", "late"))
    assert [p.frame.text.decode() for p in hub.newest("ada")] == ["second"]


def test_what_ended_is_silent_until_it_runs_again() -> None:
    hub: Hub[str] = Hub(1_000)
    hub.progressed("ada", 1, progress("j"))
    hub.moved("j", State.PROCESSING)
    assert len(hub.newest("ada")) == 1
    hub.moved("j", State.FAILED)
    assert hub.newest("ada") == []
    assert not hub.progressed("ada", 1, progress("j"))
    hub.moved("j", State.QUEUED)
    assert hub.progressed("ada", 2, progress("j"))


def test_memory_is_bounded() -> None:
    hub: Hub[str] = Hub(100 * ENCODINGS)
    for n in range(30):
        hub.progressed("ada", 1, progress(f"j{n}", "x" * 10))
    assert [p.job_id for p in hub.newest("ada")] == [f"j{n}" for n in range(20, 30)]
    assert hub.progressed("ada", 1, progress("huge", "x" * 1_000))
    assert hub.newest("ada") == []
    for n in range(ENDED_MAX + 1):
        hub.moved(f"e{n}", State.COMPLETED)
    assert hub.progressed("ada", 1, progress("e0"))
    assert not hub.progressed("ada", 1, progress("e1"))
