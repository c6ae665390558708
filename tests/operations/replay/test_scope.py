"""Which records are meant, what they become, and what is refused with words that help."""

import shlex
from typing import Any

import orjson
import pytest

from operations.core.replay_names import NotAllowed, check, named
from operations.core.replay_records import Rules, Skipped, Written, origin_of_letter, written
from operations.core.replay_scope import Asked, BadScope, as_typed, asked_in, checks_of, chosen_places, chosen_words
from operations.core.replay_times import moment
from schemas.codec import Record, encode
from schemas.commands import CancelJob
from schemas.instants import LAST
from schemas.replays import COUNT, ORIGIN, OURS, RECORDED_AT, REPLAY_ID, SOURCE_AT, Replayed, replayed
from schemas.topics import ASSIGNMENTS, AUDIT, COMMANDS, DEADLETTER, PROGRESS, QUARANTINE, RECORD_MAX
from streams.core.recorded import Recorded, first_recorded
from streams.deadletters import CannotProcess, dead_letter
from tests.operations.replay.made import Made

NOW = 1_790_000_000_000
VALUE = orjson.dumps({"userId": "ann", "jobId": "j1", "request": {"numFrames": 61, "prompt": "a corgi"}, "empty": []})
TYPE = ("ce_type", b"dev.openv.command.submit.v1")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-21T09:00:00Z", 1_795_251_600_000),
        ("2026-11-21T10:00:00+01:00", 1_795_251_600_000),
        ("2026-11-21T09:00", 1_795_251_600_000),
        ("2h", NOW - 7_200_000),
        ("2h ago", NOW - 7_200_000),
        ("90m", NOW - 5_400_000),
        ("3d", NOW - 259_200_000),
        ("now", NOW),
        ("999999w", 0),
    ],
)
def test_times_as_people_say_them(text: str, at: int) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2 fortnights ago", "-3h", "2026-13-01", "1h2m"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        moment(text, NOW)


def test_short_names_are_ours() -> None:
    assert named("commands") == COMMANDS.name
    assert named("openv.events") == "openv.events"
    assert named("their.topic") == "their.topic"
    assert named("file:/tmp/x") == "file:/tmp/x"
    for nothing in ("", "  ", "file:"):
        with pytest.raises(NotAllowed):
            named(nothing)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("openv.commands", "openv.commands", "into a file first"),
        ("their.topic", "their.topic", "into a file first"),
        ("x", ASSIGNMENTS.name, "replay openv.dispatch"),
        ("x", PROGRESS.name, "nothing to bring back"),
        ("x", AUDIT.name, "into a file to read it"),
        ("x", QUARANTINE.name, "too often"),
        ("x", DEADLETTER.name, "name the topic"),
        ("openv.events", "origin", "Only dead letters"),
        ("their.topic", "__consumer_offsets", "Kafka's own"),
        ("file:/a", "__transaction_state", "Kafka's own"),
        ("openv.audit", COMMANDS.name, "do not belong on openv.commands"),
        ("openv.progress", "openv.events", "do not belong on openv.events"),
        ("openv.assignments", "openv.dispatch", "do not belong on openv.dispatch"),
        ("openv.events", COMMANDS.name, "do not belong on openv.commands"),
        ("openv.commands", "openv.dispatch", "do not belong on openv.dispatch"),
    ],
)
def test_what_must_not_be_says_what_to_do_instead(source: str, target: str, words: str) -> None:
    with pytest.raises(NotAllowed, match=words):
        check(source, target)


def test_what_may_be() -> None:
    for source, target in (
        ("openv.deadletter", "openv.commands"), ("openv.deadletter", "origin"), ("openv.events", "theirs"),
        ("file:/a", "openv.commands"), ("openv.audit", "file:/a"), ("openv.quarantine", "openv.commands"),
        ("openv.progress", "theirs"), ("their.topic", "openv.events"), ("_theirs", "_others"),
    ):  # fmt: skip
        check(source, target)


def passes(record: Made, **scope: Any) -> bool:
    tests = checks_of(Asked("x.source", "x.target", **scope))
    return all(test(record.key, record.value, record.headers) is None for test in tests)


RECORD = Made(key=b"ann", value=VALUE, headers=[TYPE, ("ce_subject", b"j9"), ("a", b"1"), ("a", b"2")])


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, True),
        ({"keys": ("ann",)}, True),
        ({"keys": ("bob", "ann")}, True),
        ({"keys": ("bob",)}, False),
        ({"users": ("ann",)}, True),
        ({"users": ("bob",)}, False),
        ({"jobs": ("j9",)}, True),
        ({"jobs": ("j1",)}, True),
        ({"jobs": ("j",)}, False),
        ({"types": ("submit.v1",)}, True),
        ({"types": ("*.command.*",)}, True),
        ({"types": ("dev.openv.command.submit.v?",)}, True),
        ({"types": ("command.submit",)}, True),
        ({"types": ("Submit",)}, True),
        ({"types": ("submit.v?",)}, True),
        ({"types": ("command.submit.v",)}, True),
        ({"types": ("command.s*t",)}, False),
        ({"types": ("command.cancel",)}, False),
        ({"types": ("(no type)",)}, False),
        ({"types": ("cancel.v1", "submit.v1")}, True),
        ({"headers": ("a=2",)}, True),
        ({"headers": ("a=3",)}, False),
        ({"headers": ("a=3", "a=1")}, True),
        ({"headers": ("a=1", "b=1")}, False),
        ({"where": ("request.numFrames > `60`",)}, True),
        ({"where": ("request.numFrames > `61`",)}, False),
        ({"where": ("empty",)}, False),
        ({"where": ("missing.member",)}, False),
        ({"where": ("length(request.numFrames)",)}, False),
        ({"where": ("starts_with(request.prompt, 'a c')",)}, True),
        ({"keys": ("ann",), "types": ("cancel.v1",)}, False),
    ],
)
def test_scopes(scope: dict[str, Any], expected: bool) -> None:
    assert passes(RECORD, **scope) is expected


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[1]", b"{"])
def test_what_is_no_json_meets_no_expression_and_stops_nothing(value: bytes | None) -> None:
    record = Made(key=b"other", value=value, headers=[])
    for scope in ({"where": ("@",)}, {"users": ("ann",)}, {"jobs": ("j1",)}, {"types": ("*",)}):
        assert not passes(record, **scope)
    assert passes(record)


@pytest.mark.parametrize(
    ("scope", "words"),
    [({"where": ("a ==",)}, "no JMESPath"), ({"headers": ("novalue",)}, "NAME=VALUE"), ({"headers": ("=v",)}, "NAME")],
)
def test_options_that_mean_nothing_are_named(scope: dict[str, Any], words: str) -> None:
    with pytest.raises(BadScope, match=words):
        checks_of(Asked("x", "y", **scope))


def test_a_scope_is_the_same_in_whatever_order_it_was_said() -> None:
    one = Asked("s", "t", since="2h", keys=("a; b", "c"), where=("x == 'y; z'",), partitions=(2, 1), max_replays=3)
    other = Asked("s", "t", since="2h", keys=("c", "a; b"), where=("x == 'y; z'",), partitions=(1, 2), max_replays=3)
    assert one.digest() == other.digest()
    assert one.digest() != Asked("s", "t", since="3h", keys=("a; b", "c"), partitions=(1, 2), max_replays=3).digest()
    assert (
        asked_in(one.words())
        == asked_in(other.words())
        == Asked("s", "t", since="2h", keys=("a; b", "c"), where=("x == 'y; z'",), partitions=(1, 2), max_replays=3)
    )
    chosen = ((0, 5), (1, 6))
    assert Asked("s", "t", chosen=chosen).digest() != Asked("s", "t", chosen=chosen[:1]).digest()
    assert asked_in(Asked("s", "t", chosen=chosen).words(), chosen) == Asked("s", "t", chosen=chosen)


def test_a_scope_is_shown_as_it_can_be_typed() -> None:
    asked = Asked("s", "t", since="2h", types=("job.completed", "x y"), where=("a == 'b'",), partitions=(2,))
    shown = as_typed(asked.words())
    assert shown.endswith("""--where "a == 'b'\"""")
    for odd in ("'$HOME'", "'`x`'", "'\\'", "'\"", "'!x'", ""):
        assert shlex.split(as_typed(Asked("s", "t", keys=(odd,)).words()))[-1] == odd
    assert shlex.split(shown) == [
        "--from", "2h", "--max-replays", "5", "--partition", "2", "--type", "job.completed", "--type", "x y",
        "--where", "a == 'b'",
    ]  # fmt: skip


def test_records_named_one_by_one_are_stored_as_runs() -> None:
    some = [(1, 7), (0, 3), (0, 5), (0, 4), (2, 9), (0, 8), (1, 8), (0, 3)]
    assert chosen_words(some) == ("0/3-5", "0/8", "1/7-8", "2/9")
    assert chosen_places(chosen_words(some)) == tuple(sorted(set(some)))
    assert chosen_places(("0/5", "1/6")) == ((0, 5), (1, 6))
    assert chosen_words(chosen_places(())) == ()


def as_written(record: Made, target: str = "x.target", most: int = 5, at: str = "7/9") -> Written:
    found = written(record, at, Rules("r-2", target, most))
    assert isinstance(found, Written)
    return found


def test_the_first_replay_notes_where_it_lay() -> None:
    record = Made(topic="openv.events", partition=3, offset=8, timestamp=NOW, headers=[TYPE, ("ce_id", b"j:1")])
    found = as_written(record)
    assert found.topic == "x.target"
    assert found.headers[:2] == [TYPE, ("ce_id", b"j:1")]
    assert replayed(found.headers) == Replayed("r-2", "openv.events", 3, 8, NOW, 1)  # type: ignore[arg-type]
    assert dict(found.headers)[SOURCE_AT] == b"7/9"


def test_a_time_that_is_none_is_noted_as_one_that_can_be() -> None:
    for at, noted in ((-1, 0), (2**63 - 1, LAST), (NOW * 1_000_000, LAST)):
        assert dict(as_written(Made(timestamp=at)).headers)[RECORDED_AT] == str(noted).encode()


def test_later_ones_keep_the_origin_and_raise_the_count_until_it_is_too_often() -> None:
    before = Replayed("r-1", "openv.commands", 1, 2, 3, 4)
    record = Made(headers=[TYPE, *before.headers(), (SOURCE_AT, b"0/0")])
    found = as_written(record)
    assert replayed(found.headers) == Replayed("r-2", "openv.commands", 1, 2, 3, 5)  # type: ignore[arg-type]
    assert sorted(name for name, _ in found.headers if name in OURS) == sorted(OURS), "each once"
    assert as_written(record, most=4).topic == QUARANTINE.name


def test_headers_that_only_look_like_ours_count_for_nothing() -> None:
    record = Made(topic="t", headers=[(REPLAY_ID, b"r-0"), (COUNT, b"many"), (ORIGIN, b"x"), (RECORDED_AT, b"-1")])
    found = as_written(record)
    assert replayed(found.headers) == Replayed("r-2", "t", 0, 0, record.timestamp, 1)  # type: ignore[arg-type]
    assert len(found.headers) == len(OURS)


def a_letter(record: Record | None = None) -> Made:
    command = encode(CancelJob(command_id="c1", user_id="ann", job_id="j1"), source="/t", at=NOW)
    first = record or Record(COMMANDS.name, 5, 77, NOW - 1, command.key, command.value, command.headers)
    letter = dead_letter(first, "openv-ledger", CannotProcess("a fault"))
    return Made(topic=DEADLETTER.name, partition=1, offset=4, key=letter.key, value=letter.value,
                headers=list(letter.headers))  # fmt: skip


def test_a_dead_letter_is_taken_out_of_its_envelope() -> None:
    letter = a_letter()
    for target in (COMMANDS.name, "origin"):
        found = as_written(letter, target)
        assert found.topic == COMMANDS.name
        assert replayed(found.headers) == Replayed("r-2", COMMANDS.name, 5, 77, NOW - 1, 1)  # type: ignore[arg-type]
        names = [name for name, _ in found.headers]
        assert not [name for name in names if name.startswith(("kafka_dlt-exception", "openv_reason", "openv_cut"))]
        assert "kafka_dlt-original-offset" in names, "by which the ledger knows that nobody has decided it"
        assert "ce_id" in names
    assert written(letter, "1/4", Rules("r", "openv.events", 5)) is Skipped.OTHER_ORIGIN
    assert as_written(letter, "their.topic").headers[: len(letter.headers)] == letter.headers, "a copy as it is"
    assert as_written(letter, "file:/x").headers == []


def test_a_dead_letter_that_failed_again_keeps_its_first_origin() -> None:
    again = as_written(a_letter(), COMMANDS.name)
    failed = Record(COMMANDS.name, 5, 990, NOW + 5, b"ann", b"{}", tuple(again.headers))  # type: ignore[arg-type]
    found = as_written(a_letter(failed), COMMANDS.name)
    assert replayed(found.headers) == Replayed("r-2", COMMANDS.name, 5, 77, NOW - 1, 2)  # type: ignore[arg-type]
    quarantined = as_written(a_letter(failed), COMMANDS.name, most=1)
    assert quarantined.topic == QUARANTINE.name
    assert ("openv_reason", b"a fault") in quarantined.headers, "an operator still sees why"


@pytest.mark.parametrize("via", ["their.copy", QUARANTINE.name])
def test_a_redriven_one_is_not_taken_for_undecided_when_its_topic_is_replayed(via: str) -> None:
    """Else it would be carried out once more, where an old backup of the documents knows nothing of it."""
    straight = as_written(a_letter(), COMMANDS.name)
    copied = Made(topic=via, offset=3, headers=as_written(a_letter(), "their.copy").headers)
    for redriven in (straight, as_written(copied, COMMANDS.name)):
        assert decided_as(redriven, NOW + 9) == Recorded(NOW - 1, set_aside=True)
        lies_there = Made(topic=COMMANDS.name, partition=5, offset=990, timestamp=NOW + 9, headers=redriven.headers)
        for again in (as_written(lies_there), as_written(lies_there, COMMANDS.name)):
            assert decided_as(again, NOW + 99) == Recorded(NOW - 1)
            told = replayed((name, value or b"") for name, value in again.headers)
            assert told is not None
            assert (told.origin, told.count) == ("openv.commands/5/77", redriven.count + 1)
    by_hand = Made(topic=COMMANDS.name, timestamp=NOW + 9, headers=a_letter().headers)  # with a tool that is not ours
    assert decided_as(as_written(by_hand), NOW + 99) == Recorded(NOW - 1)
    worn_out = as_written(by_hand, most=0)
    assert worn_out.topic == QUARANTINE.name
    out_of_it = as_written(Made(topic=QUARANTINE.name, headers=worn_out.headers), COMMANDS.name)
    assert decided_as(out_of_it, NOW + 99) == Recorded(NOW - 1)


def decided_as(record: Written, at: int) -> Recorded | None:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return first_recorded(Record(COMMANDS.name, 5, 990, at, b"ann", b"{}", headers))


def test_dead_letters_that_can_not_go_back() -> None:
    cut = a_letter(Record(COMMANDS.name, 0, 1, 1, b"ann", b"x" * RECORD_MAX, (TYPE,)))
    assert written(cut, "0/0", Rules("r", COMMANDS.name, 5)) is Skipped.CUT
    orders = a_letter(Record(ASSIGNMENTS.name, 0, 1, 1, b"w", b"{}", ()))
    assert written(orders, "0/0", Rules("r", "origin", 5)) is Skipped.FORBIDDEN_ORIGIN
    foreign = Made(topic=DEADLETTER.name, headers=[("kafka_dlt-original-topic", b"openv.commands")])
    assert written(foreign, "0/0", Rules("r", COMMANDS.name, 5)) is Skipped.OTHER_ORIGIN
    odd = [("kafka_dlt-original-topic", b"t"), ("kafka_dlt-original-partition", b"12345678x"),
           ("kafka_dlt-original-offset", b"1")]  # fmt: skip
    assert origin_of_letter(odd) is None


def test_what_the_headers_make_too_large_is_not_sent() -> None:
    assert written(Made(value=b"x" * (RECORD_MAX - 1_200)), "0/0", Rules("r", "t", 5)) is Skipped.TOO_LARGE
    assert isinstance(written(Made(value=b"x" * (RECORD_MAX - 4_000)), "0/0", Rules("r", "t", 5)), Written)


def test_headers_and_keys_count_as_well() -> None:
    """Else one record with headers as large as a batch would stop a replay for ever: its topic refuses it each time."""
    large = Made(value=b"{}", headers=[("h", b"x" * (RECORD_MAX - 1_100))])
    assert written(large, "0/0", Rules("r", "t", 5)) is Skipped.TOO_LARGE
    assert written(Made(key=b"x" * (RECORD_MAX - 1_100)), "0/0", Rules("r", "t", 5)) is Skipped.TOO_LARGE


def test_what_lies_in_the_quarantine_does_not_go_there_again() -> None:
    worn_out = as_written(Made(), "t", most=0)
    assert worn_out.topic == QUARANTINE.name
    lies_there = Made(topic=QUARANTINE.name, headers=worn_out.headers)
    assert written(lies_there, "0/0", Rules("r", "t", 1)) is Skipped.WORN_OUT
    assert as_written(lies_there, "t", most=2).topic == "t", "an operator may raise the bound"
