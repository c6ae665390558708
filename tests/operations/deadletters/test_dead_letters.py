"""Which letters are meant, how they stand, what is sent instead of one, and what a person is shown of them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from operations.core.dead_letter_edits import BadEdit, compact, difference, rebuilt, with_members
from operations.core.dead_letters import (
    By,
    Counts,
    Seen,
    Sought,
    Standing,
    group_of,
    parsed_place,
    standing_of,
    user_of,
    why_not,
)
from operations.core.replay_names import ORIGIN_TOPIC
from operations.core.replay_records import Rules, Written, written
from operations.deadletters.views import header_text, letter_plain, value_text
from schemas.codec import Encoded, Record, decode, encode
from schemas.commands import CancelJob, SubmitJob
from schemas.dispatch import Tick
from schemas.dispositions import Disposition, Fate
from schemas.letters import letter_of
from schemas.replay_plans import Checkpoint, Place, ReplayPlan, ReplayState
from schemas.replays import MOST_REPLAYS, Replayed, replayed
from schemas.topics import ASSIGNMENTS, COMMANDS, DEADLETTER, QUARANTINE
from streams.core.recorded import Recorded, first_recorded
from streams.deadletters import CannotProcess, dead_letter
from tests.operations.replay.made import Made, a_plan
from tests.streams.submissions import submission

AT = 1_790_000_000_000
LATER = AT + 86_400_000


def a_letter(message: Any = None, reason: str = "could not decide", offset: int = 9, **changes: Any) -> Record:
    made = encode(message or submission("ann", "pool"), source="/gateway", at=AT, traceparent="00-1-2-01")
    first = replace(Record(made.topic, 3, 77, AT, made.key, made.value, made.headers), **changes)
    put = dead_letter(first, "openv-ledger", CannotProcess(reason, KeyError("a secret")))
    return Record(DEADLETTER.name, 0, offset, AT + 5, put.key, put.value, put.headers)


def seen(record: Record, standing: Standing = Standing.OPEN) -> Seen:
    return Seen(record, letter_of(record.headers), standing)


# ---- which are meant


@pytest.mark.parametrize(
    ("sought", "meant"),
    [
        (Sought(), True),
        (Sought(reasons=("NOT decide",)), True),
        (Sought(reasons=("could*decide",)), True),
        (Sought(reasons=("decide*",)), False),
        (Sought(reasons=("other", "decide")), True),
        (Sought(types=("submit",)), True),
        (Sought(types=("dev.openv.command.*",)), True),
        (Sought(types=("cancel",)), False),
        (Sought(topics=("openv.commands",)), True),
        (Sought(topics=("openv.events",)), False),
        (Sought(users=("bob", "ann")), True),
        (Sought(users=("an",)), False),
        (Sought(since=AT + 5), True),
        (Sought(since=AT + 6), False),
        (Sought(until=AT + 5), False),
        (Sought(until=AT + 6), True),
    ],
)
def test_letters_are_sought_by_all_that_is_known_of_them(sought: Sought, meant: bool) -> None:
    record = a_letter()
    assert sought.meets(record, letter_of(record.headers)) is meant


@pytest.mark.parametrize("text", ["", "7", "0:", ":1", "-1:2", "0:1:2", "a:b", "0:" + "9" * 30, "٣:1"])
def test_what_is_no_id_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="partition:offset"):
        parsed_place(text)


def test_an_id_is_a_place() -> None:
    assert parsed_place(" 1:77 ") == (1, 77)


def test_different_words_are_counted_up_to_a_bound() -> None:
    counts = Counts()
    for number in range(1_500):
        counts.add(seen(a_letter(reason=f"reason {number}")), By.REASON)
    assert counts.letters == 1_500
    assert len(counts.groups) == 1_001
    assert counts.groups.total() == 1_500


def test_they_are_counted_by_anything() -> None:
    one = seen(a_letter())
    assert {by: group_of(one, by) for by in By} == {
        By.REASON: "could not decide",
        By.TOPIC: "openv.commands",
        By.TYPE: SubmitJob.TYPE,
        By.USER: "ann",
        By.STATE: "open",
        By.HOUR: "2026-09-21T14:00:00.000Z",
    }
    assert user_of(replace(one.record, key=b"\xff", value=b"{")) == "�"


# ---- how they stand


def disposed(fate: Fate, **changes: Any) -> Disposition:
    made = Disposition(letter="0:9", letter_at=AT + 5, fate=fate, at=AT + 9, actor="op", replay_id="r-1")
    return replace(made, **changes)


def plan_at(state: ReplayState, read: int | None = None) -> ReplayPlan:
    from operations.core.replay_scope import Asked

    checkpoint = None if read is None else Checkpoint(read=(Place(topic="", partition=0, offset=read),))
    return replace(a_plan((), Asked("s", "t")), state=state, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("disposition", "plan", "expected"),
    [
        (None, None, Standing.OPEN),
        (disposed(Fate.DISCARDED), None, Standing.DISCARDED),
        (disposed(Fate.EDITED), None, Standing.EDITED),
        (disposed(Fate.REDRIVEN), None, Standing.REDRIVEN),
        (disposed(Fate.REDRIVEN, letter_at=AT), None, Standing.OPEN),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.DONE), Standing.REDRIVEN),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.PLANNED), Standing.REDRIVING),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.RUNNING, 9), Standing.REDRIVING),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.RUNNING, 10), Standing.REDRIVEN),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.PAUSED, 3), Standing.REDRIVING),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.CANCELLED, 10), Standing.REDRIVEN),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.CANCELLED, 9), Standing.OPEN),
        (disposed(Fate.REDRIVEN), plan_at(ReplayState.FAILED), Standing.OPEN),
    ],
)
def test_how_a_letter_stands(disposition: Disposition | None, plan: ReplayPlan | None, expected: Standing) -> None:
    assert standing_of(a_letter(), disposition, plan) is expected


@pytest.mark.parametrize(
    ("count", "plan", "expected"),
    [
        (4, None, Standing.REDRIVEN),
        (5, None, Standing.QUARANTINED),
        (5, replace(plan_at(ReplayState.DONE), max_replays=6), Standing.REDRIVEN),
        (1, replace(plan_at(ReplayState.DONE), max_replays=1), Standing.QUARANTINED),
        (1, replace(plan_at(ReplayState.CANCELLED, 10), max_replays=1), Standing.QUARANTINED),
        (1, replace(plan_at(ReplayState.RUNNING, 9), max_replays=1), Standing.REDRIVING),
    ],
)
def test_one_that_its_replay_put_into_the_quarantine_is_not_redriven(
    count: int, plan: ReplayPlan | None, expected: Standing
) -> None:
    worn = a_letter()
    told = Replayed("r-0", COMMANDS.name, 3, 77, AT, count)
    record = replace(worn, headers=(*worn.headers, *told.headers()))
    assert standing_of(record, disposed(Fate.REDRIVEN), plan) is expected
    made = Made(DEADLETTER.name, 0, 9, record.timestamp, record.key, record.value, list(record.headers))
    went = written(made, "0/9", Rules("r-1", ORIGIN_TOPIC, (plan.max_replays if plan else 0) or MOST_REPLAYS))
    assert isinstance(went, Written)
    if expected is not Standing.REDRIVING:
        assert (went.topic == QUARANTINE.name) is (expected is Standing.QUARANTINED), "as it is said, so it is done"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (a_letter(), None),
        (a_letter(topic="openv.progress"), "came from openv.progress"),
        (a_letter(topic=ASSIGNMENTS.name), "nothing is written there again"),
        (a_letter(topic="orders.of.others"), "nothing is written there again"),
        (a_letter(value=b"{"), "can't be read by this version either"),
        (a_letter(value=b"x" * 1_048_576), "too large to be kept whole"),
        (a_letter(key=b"bob"), "the record's key is not the message's"),
        (a_letter(Tick(tick_id="t")), "the next one does the same"),
        (replace(a_letter(), headers=()), "which topic"),
    ],
)
def test_why_one_can_not_be_redriven(record: Record, words: str | None) -> None:
    reason = why_not(seen(record))
    assert reason is None if words is None else words in (reason or "")


def test_a_redriven_letter_tells_the_ledger_that_nobody_has_decided_it() -> None:
    record = a_letter()
    made = Made(DEADLETTER.name, 0, 9, record.timestamp, record.key, record.value, list(record.headers))
    again = written(made, "0/9", Rules("r-1", ORIGIN_TOPIC, 5))
    assert isinstance(again, Written)
    headers = tuple((name, value or b"") for name, value in again.headers)
    landed = Record(again.topic, 3, 900, LATER, record.key, record.value, headers)
    assert first_recorded(landed) == Recorded(AT, set_aside=True)
    assert isinstance(decode(landed), SubmitJob)
    failed_again = dead_letter(landed, "openv-ledger", CannotProcess("again"))
    assert letter_of(failed_again.headers).origin == "openv.commands/3/77"


# ---- what is sent instead


def test_members_are_set_in_and_taken_out_of_json() -> None:
    value = json.dumps({"a": {"b": 1, "c": "x"}, "d": [1]}).encode()
    changed = with_members(value, ["a.b=2", "a.n.m=[true]", "e=some text", "a.c", "d=null"])
    assert json.loads(changed) == {"a": {"b": 2, "n": {"m": [True]}}, "d": None, "e": "some text"}


@pytest.mark.parametrize("said", ["a.b.c=1", "nothing", "d.e", "=1", "a..b=1", ""])
def test_what_can_not_be_set_is_refused(said: str) -> None:
    with pytest.raises(BadEdit):
        with_members(b'{"a": {"b": 1}, "d": [1]}', [said])


def test_an_edited_record_is_the_message_that_its_value_says() -> None:
    one = seen(a_letter(key=b"bob"))
    assert why_not(one) is not None, "it was set aside for its key"
    value = with_members(one.record.value, ["request.numFrames=13"])
    sent: Encoded = rebuilt(one, value, "e-1")
    landed = Record(sent.topic, 3, 901, LATER, sent.key, sent.value, sent.headers)
    message = decode(landed)
    assert isinstance(message, SubmitJob)
    assert (sent.topic, sent.key, message.request.num_frames) == (COMMANDS.name, b"ann", 13)
    assert landed.header("ce_id") == message.command_id
    assert landed.header("traceparent") == "00-1-2-01"
    assert first_recorded(landed) == Recorded(AT, set_aside=True)
    told = replayed(sent.headers)
    assert told is not None
    assert (told.replay_id, told.origin, told.count) == ("e-1", "openv.commands/3/77", 1)
    assert not any(name.startswith("kafka_dlt-exception") for name, _ in sent.headers)


def test_another_type_may_be_given_where_that_was_wrong() -> None:
    cancel = CancelJob(command_id="c", user_id="ann", job_id="j")
    made = encode(cancel, source="/g", at=AT)
    untyped = tuple(one for one in made.headers if one[0] != "ce_type")
    one = seen(a_letter(cancel, headers=untyped))
    with pytest.raises(BadEdit, match="no ce_type header"):
        rebuilt(one, one.record.value, "e-1")
    sent = rebuilt(one, one.record.value, "e-1", kind=CancelJob.TYPE)
    assert decode(Record(sent.topic, 0, 0, LATER, sent.key, sent.value, sent.headers)) == cancel


@pytest.mark.parametrize(
    ("record", "value", "words"),
    [
        (a_letter(), b'{"userId": "ann"}', "still can't be read"),
        (a_letter(), b"[]", "still can't be read"),
        (a_letter(topic=ASSIGNMENTS.name), b"{}", "nothing is written there"),
        (a_letter(), b'"' + b"x" * 1_048_576 + b'"', "too large"),
    ],
)
def test_what_can_not_be_sent_is_refused_without_its_value(record: Record, value: bytes, words: str) -> None:
    with pytest.raises(BadEdit, match=words) as refused:
        rebuilt(seen(record), value, "e-1")
    assert "corgi" not in str(refused.value)


def test_what_differs_is_shown_line_by_line() -> None:
    assert '+  "b": 2' in difference(b'{"a":1,"b":1}', b'{"a":1,"b":2}')
    assert "(1 bytes that are no JSON)" in difference(b"{", b"{}")
    with pytest.raises(BadEdit, match="line 2"):
        compact(b'{"a": 1,\n ]}')


# ---- what is shown


def test_springs_headers_are_read_as_numbers() -> None:
    assert header_text("kafka_dlt-original-offset", (77).to_bytes(8, "big")) == "77"
    assert header_text("kafka_dlt-original-partition", (5).to_bytes(4, "big")) == "5"
    assert header_text("x", b"\xff\x00") == "ff 00"
    assert header_text("x", b"a\x1b[31m") == "a�[31m"


def test_a_value_is_shown_on_demand_alone() -> None:
    one = seen(a_letter())
    assert "corgi" not in json.dumps(letter_plain(one, value=False))
    assert "secret" not in json.dumps(letter_plain(one, value=True)), "an exception may quote what it choked on"
    assert "corgi" in letter_plain(one, value=True)["value"]


def test_bytes_that_are_no_text_are_dumped() -> None:
    assert value_text(b"\xff" + b"ab" * 10).splitlines() == [
        "00000000  ff 61 62 61 62 61 62 61 62 61 62 61 62 61 62 61  |.abababababababa|",
        "00000010  62 61 62 61 62" + " " * 33 + "  |babab|",
    ]
    assert value_text(b"\xff" * 9_999).endswith("(5,903 bytes more)")
    assert value_text(b"plain\x1b text") == "plain� text"
