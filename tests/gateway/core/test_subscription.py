"""The subscription: every phase × every input, and what a watcher sees."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.frame import BinaryFrame, Frame, PreviewFrame
from gateway.core.inputs import (
    Asked,
    Beat,
    Ended,
    Event,
    Expiring,
    Granted,
    Input,
    Mistake,
    Pinged,
    Progress,
    Resumed,
    Shown,
)
from gateway.core.outbox import Outbox
from gateway.core.subscription import MISTAKES_MAX, TABLE, VERSIONS_MAX, Act, Phase, Subscription, event_frame
from gateway.core.window import Cursor, Entry, Happened, Replay, check_of
from schemas.api import live
from schemas.api.live import CloseCode, Previews


def event(offset: int, job: str = "j", version: int | None = None) -> Event:
    cursor = Cursor(0, offset, check_of(str(offset)))
    happened = Happened("dev.openv.job.queued.v1", job, version or offset + 1, b'{"n":%d}' % offset)
    entry = Entry(cursor, "ada", 0, happened)
    return Event(entry, event_frame(entry))


def progress(job: str, **members: int) -> Progress:
    text = json.dumps({"type": "progress", **members})
    return Progress(job, "progress", Frame("progress", text.encode()))


def preview(jpeg: str = "QUJD") -> Progress:
    body = {"jobId": "j", "step": 3, "jpeg": jpeg}
    text = json.dumps({"type": "preview", "data": body})
    return Progress("j", "preview", PreviewFrame(text.encode()))


def replay(*events: Event, head: int) -> Resumed:
    return Resumed(Replay(tuple(e.entry for e in events), Cursor(0, head, check_of(str(head)))))


GRANTED = Granted("ada", 20_000)
INPUTS: list[Input] = [
    GRANTED,
    Asked(None),
    replay(head=0),
    Shown((), {}, None),
    event(0),
    progress("j"),
    Pinged(),
    Beat(None),
    Expiring(20_000),
    Mistake("bad_message", "why"),
    Ended(CloseCode.RESTARTING),
]
WAYS: dict[Phase, list[Input]] = {
    Phase.AWAITING_AUTH: [],
    Phase.AUTHENTICATED: [GRANTED],
    Phase.CATCHING_UP: [GRANTED, Asked(None)],
    Phase.LIVE: [GRANTED, Asked(None), Shown((), {}, None)],
    Phase.CLOSED: [Ended(CloseCode.SLOW)],
}


def subscription(*inputs: Input, frames: int = 64, size: int = 100_000, buffer: int = 64) -> Subscription:
    made = Subscription(Outbox(frames, size), buffer)
    for one in inputs:
        made.receive(one)
    return made


def seen(made: Subscription) -> list[dict[str, Any]]:
    return [json.loads(frame.text) for frame in taken(made)]


def taken(made: Subscription) -> list[Frame]:
    return made.take(10**9)


def types(made: Subscription) -> list[str]:
    return [frame["type"] for frame in seen(made)]


def numbers(made: Subscription) -> list[int]:
    return [frame["data"]["n"] for frame in seen(made) if frame["type"] == "event"]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("happened", INPUTS, ids=lambda happened: type(happened).__name__)
def test_every_input_in_every_phase_does_what_the_table_says_and_no_more(phase: Phase, happened: Input) -> None:
    made = subscription(*WAYS[phase])
    assert made.phase is phase
    before = made.closing
    seen(made)
    made.receive(happened)
    row = TABLE[phase].get(type(happened))
    assert made.phase is (row[1] if row else phase)
    if row is None:
        assert (taken(made), made.closing) == ([], before)
    assert (made.phase is Phase.CLOSED) == (made.closing is not None)


def test_the_table_knows_every_phase_uses_every_act_and_never_leaves_closed() -> None:
    assert set(TABLE) == set(Phase)
    assert {act for rows in TABLE.values() for act, _ in rows.values()} == set(Act)
    assert not TABLE[Phase.CLOSED]
    assert {phase for rows in TABLE.values() for _, phase in rows.values()} == set(Phase) - {Phase.AWAITING_AUTH}


def test_live_events_are_sent_with_their_positions() -> None:
    made = subscription(*WAYS[Phase.LIVE])
    made.receive(event(4))
    assert seen(made)[-1]["position"] == f"0:4:{check_of('4')}"


def test_what_comes_while_a_replay_is_read_follows_it_once_and_in_order() -> None:
    made = subscription(GRANTED, Asked(None), event(3), event(4))
    made.receive(replay(event(1), event(2), event(3), head=3))
    made.receive(event(5))
    frames = seen(made)
    assert [f["type"] for f in frames] == ["welcome", "resumed", "event", "event", "event", "event", "event"]
    assert [f["data"]["n"] for f in frames[2:]] == [1, 2, 3, 4, 5]


def test_a_snapshot_swallows_the_versions_it_contains() -> None:
    made = subscription(GRANTED, Asked(None), event(5, "a", 2), event(6, "b", 1), event(7, "a", 3))
    made.receive(Shown(({"jobId": "a"}, {"jobId": "b"}), {"a": 2, "b": 4}, Cursor(0, 4, check_of("4"))))
    frames = seen(made)
    assert [f["type"] for f in frames] == ["welcome", "snapshot", "event"]
    assert frames[1]["position"] == f"0:4:{check_of('4')}"
    assert frames[2]["data"]["n"] == 7


def test_an_announcement_made_again_is_shown_once() -> None:
    made = subscription(*WAYS[Phase.LIVE], event(1, "j", 1), event(2, "j", 2), event(3, "j", 2), event(4, "j", 1))
    assert numbers(made) == [1, 2]


def test_versions_are_remembered_for_the_busiest_jobs_only() -> None:
    made = subscription(*WAYS[Phase.LIVE], frames=VERSIONS_MAX * 3, size=10**9)
    for n in range(VERSIONS_MAX + 1):
        made.receive(event(n, f"j{n}", 1))
    made.receive(event(9_000, f"j{VERSIONS_MAX}", 1))
    assert len(numbers(made)) == VERSIONS_MAX + 1


def test_a_subscription_to_one_job_sees_that_job_alone() -> None:
    made = subscription(GRANTED, Asked("a"), event(1, "a"), event(2, "b"))
    made.receive(replay(event(0, "b"), head=0))
    made.receive(event(3, "b"))
    made.receive(event(4, "a"))
    made.receive(progress("b"))
    assert numbers(made) == [1, 4]


def test_progress_is_the_newest_and_not_after_the_event_that_ends_it() -> None:
    made = subscription(*WAYS[Phase.LIVE])
    made.receive(progress("j", n=1))
    made.receive(progress("j", n=2))
    assert seen(made)[-1]["n"] == 2
    made.receive(progress("j", n=3))
    made.receive(event(1))
    assert types(made) == ["event"]


def test_subscribing_again_starts_over() -> None:
    made = subscription(*WAYS[Phase.LIVE], event(1, "j", 1))
    made.receive(Asked(None))
    made.receive(event(2, "k", 1))
    made.receive(Shown((), {}, None))
    assert types(made) == ["welcome", "snapshot", "event", "snapshot", "event"]


@pytest.mark.parametrize("happened", [Asked(None), Pinged(), Mistake("bad_message", "why")])
def test_nothing_comes_before_auth(happened: Input) -> None:
    assert subscription(happened).closing is CloseCode.UNAUTHORIZED


def test_another_users_key_ends_the_socket_the_same_users_renews_it() -> None:
    made = subscription(*WAYS[Phase.LIVE])
    made.receive(GRANTED)
    assert types(made)[-1] == "welcome"
    made.receive(Granted("bob", 1))
    assert made.closing is CloseCode.UNAUTHORIZED
    assert made.user_id == "ada"


def test_who_reads_too_slowly_is_closed_and_never_loses_an_event_in_between() -> None:
    made = subscription(*WAYS[Phase.LIVE], frames=8)
    for n in range(20):
        made.receive(event(n))
    assert made.closing is CloseCode.SLOW
    assert live.may_reconnect(made.closing)
    assert taken(made) == []


def test_a_catch_up_that_is_overtaken_is_closed() -> None:
    made = subscription(GRANTED, Asked(None), *(event(n) for n in range(4)), buffer=3)
    assert made.closing is CloseCode.SLOW


def test_too_many_mistakes_end_it_after_saying_why() -> None:
    made = subscription(*WAYS[Phase.LIVE], *[Mistake("bad_message", "why")] * MISTAKES_MAX)
    assert made.closing is CloseCode.PROTOCOL
    assert types(made).count("error") == MISTAKES_MAX


def test_a_heartbeat_carries_the_position_only_when_everything_before_it_was_sent() -> None:
    head = Cursor(0, 9, "00000000")
    catching_up = subscription(GRANTED, Asked(None), Beat(head))
    assert seen(catching_up)[-1] == {"type": "ping"}
    alive = subscription(*WAYS[Phase.LIVE], Beat(head))
    assert seen(alive)[-1] == {"type": "ping", "position": "0:9:00000000"}


def test_previews_come_as_they_were_asked_for() -> None:
    for how, wanted in ((Previews.JSON, Frame), (Previews.BINARY, BinaryFrame)):
        made = subscription(GRANTED, Asked(None, how), Shown((), {}, None), preview())
        assert isinstance(taken(made)[-1], wanted), how
    assert types(subscription(GRANTED, Asked(None, Previews.NONE), Shown((), {}, None), preview()))[-1] == "snapshot"


def test_a_preview_is_decoded_once_for_all_and_not_sent_if_it_can_not_be() -> None:
    it = preview()
    for _ in range(2):
        made = subscription(GRANTED, Asked(None, Previews.BINARY), Shown((), {}, None), it)
        assert taken(made)[-1] is it.frame.binary  # type: ignore[attr-defined]
    broken = preview("no base64!")
    made = subscription(GRANTED, Asked(None, Previews.BINARY), Shown((), {}, None), broken)
    assert types(made)[-1] == "snapshot"


def test_the_end_of_a_credential_is_told_at_the_beginning_and_ahead_of_time() -> None:
    made = subscription(Granted("ada", 20_000, 60_000), Expiring(20_000))
    frames = seen(made)
    assert frames[0] == {"type": "welcome", "userId": "ada", "heartbeatMs": 20_000, "expiresInMs": 60_000}
    assert frames[1] == {"type": "expiring", "expiresInMs": 20_000}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_the_interleaving_a_resumed_watcher_sees_each_later_event_once_in_order(data: st.DataObject) -> None:
    """A log of one user; the watcher starts to listen at any moment, with any position, and repeats are announced."""
    jobs = data.draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
    versions: dict[str, int] = {}
    log: list[Event] = []
    for offset, job in enumerate(jobs):
        repeated = job in versions and data.draw(st.booleans())
        versions[job] = versions.get(job, 0) + (0 if repeated else 1)
        log.append(event(offset, job, versions[job]))
    position = data.draw(st.integers(-1, len(log) - 1))
    asked = data.draw(st.integers(max(position, 0), len(log)))
    answered = data.draw(st.integers(max(asked, position + 1), len(log)))  # a gateway that is behind waits first
    made = subscription(GRANTED, Asked(None), frames=1000)
    for one in log[asked:answered]:
        made.receive(one)
    made.receive(replay(*log[position + 1 : answered], head=answered - 1))
    for one in log[answered:]:
        made.receive(one)
    expected, shown = [], {}
    for one in log[position + 1 :]:
        happened = one.entry.event
        assert happened is not None
        if happened.version > shown.get(happened.job_id, 0):
            shown[happened.job_id] = happened.version
            expected.append(one.entry.cursor.offset)
    assert numbers(made) == expected
