"""Messages to records and back; records that can't be read; agreement with the CloudEvents SDK."""

import json
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from hypothesis import HealthCheck, given, settings

from schemas.accounts import Account
from schemas.codec import TYPE_NAMES, Encoded, Message, Record, Unreadable, decode, encode, type_of
from schemas.commands import AttemptFailed, CancelJob
from schemas.dispatch import WorkerBeat, WorkerState
from schemas.events import AccountEvent, JobEvent
from schemas.failures import FailureCode
from schemas.instants import from_datetime, to_iso
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import RECORD_MAX, TOPIC_OF, TOPICS
from tests.schemas.anything import MESSAGES, anything, anything_of

SOURCE, AT = "/openv/test", 1_773_144_000_123
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANCEL = CancelJob(command_id="c1", user_id="u1", job_id="j1", run=2)

each_message = pytest.mark.parametrize("message_class", MESSAGES, ids=lambda cls: cls.__name__)
quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def record_of(encoded: Encoded, **changes: Any) -> Record:
    made = Record(encoded.topic, 0, 5, AT, encoded.key, encoded.value, encoded.headers)
    return replace(made, **changes)


def headers(**values: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode()) for name, value in values.items())


@each_message
@quick
@given(data=st.data())
def test_what_is_written_is_read(message_class: type, data: st.DataObject) -> None:
    message = data.draw(anything_of(message_class))
    encoded = encode(message, source=SOURCE, at=AT)
    assert encoded.topic == TOPIC_OF[message_class].name
    assert decode(record_of(encoded)) == message


@each_message
@quick
@given(data=st.data())
def test_the_official_sdk_reads_the_same_attributes(message_class: type, data: st.DataObject) -> None:
    message = data.draw(anything_of(message_class).filter(lambda m: m.message_id and m.subject))
    encoded = encode(message, source=SOURCE, at=AT, traceparent=TRACE)
    event = from_binary(KafkaMessage(dict(encoded.headers), encoded.key, encoded.value), JSONFormat())
    assert event.get_specversion() == "1.0"
    assert (event.get_id(), event.get_type(), event.get_source()) == (message.message_id, type_of(message), SOURCE)
    assert event.get_subject() == message.subject
    assert event.get_datacontenttype() == "application/json"
    when = event.get_time()
    assert when is not None
    assert from_datetime(when) == AT
    assert event.get_data() == orjson.loads(encoded.value)
    assert event.get_extension("partitionkey") == message.key


def test_headers() -> None:
    encoded = encode(CANCEL, source=SOURCE, at=AT, traceparent=TRACE)
    assert (encoded.topic, encoded.key) == ("openv.commands", b"u1")
    assert orjson.loads(encoded.value) == {
        "commandId": "c1",
        "userId": "u1",
        "jobId": "j1",
        "run": 2,
        "queuedOnly": False,
    }
    assert dict(encoded.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"c1",
        "ce_type": b"dev.openv.command.cancel.v1",
        "ce_source": b"/openv/test",
        "ce_subject": b"j1",
        "ce_time": b"2026-03-10T12:00:00.123Z",
        "content-type": b"application/json",
        "openv_version": b"1",
        "traceparent": TRACE.encode(),
    }
    assert "traceparent" not in dict(encode(CANCEL, source=SOURCE, at=AT).headers)
    assert to_iso(AT) == "2026-03-10T12:00:00.123Z"


@quick
@given(account=anything(Account))
def test_pending_admissions_do_not_leave_with_the_account(account: Account) -> None:
    """They hold prompts, and are told as job events."""
    assert orjson.loads(encode(AccountEvent(account), source=SOURCE, at=AT).value)["pending"] == {}


def test_unknown_members_are_ignored() -> None:
    encoded = encode(CANCEL, source=SOURCE, at=AT)
    newer = orjson.dumps({**orjson.loads(encoded.value), "fromTheFuture": {"a": [1]}})
    assert decode(record_of(encoded, value=newer)) == CANCEL


GOOD = encode(CANCEL, source=SOURCE, at=AT)
MISFIT = "does not fit the document's state"
SECRET = "a secret prompt"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"headers": ()}, "no ce_type header"),
        ({"headers": headers(ce_type="dev.openv.command.cancel.v99")}, "unknown type"),
        ({"headers": headers(ce_type="x" * 5_000)}, "unknown type"),
        ({"headers": (("ce_type", b"\xff\xfe"),)}, "unknown type"),
        ({"headers": (("ce_type", None),)}, "no ce_type header"),
        ({"headers": (("ce_type", b""),)}, "no ce_type header"),
        ({"topic": "openv.events"}, "does not belong on openv.events"),
        ({"value": None}, "no value"),
        ({"value": b""}, "no value"),
        ({"value": b" " * (RECORD_MAX + 1)}, "over the limit"),
        ({"value": b"{"}, "json_invalid"),
        ({"value": b"[" * 100_000}, "json_invalid"),
        ({"value": b"[]"}, "not valid"),
        ({"value": orjson.dumps({"commandId": "c1", "userId": "u1"})}, "jobId: missing"),
        ({"value": orjson.dumps({"commandId": "c1", "userId": "u1", "jobId": 5})}, "jobId: string_type"),
        ({"value": b'{"commandId":"c1","userId":"\\ud800","jobId":"j1"}'}, "json_invalid"),
        ({"key": b"someone-else"}, "the record's key"),
        ({"key": None}, "the record's key"),
    ],
)
def test_what_cannot_be_read_says_why(changes: dict[str, Any], reason: str) -> None:
    read = decode(record_of(GOOD, **changes))
    assert isinstance(read, Unreadable)
    assert reason in read.reason
    assert len(read.reason) < 600


def test_a_reason_never_quotes_the_value() -> None:
    value = orjson.dumps({"commandId": [SECRET], "userId": {"x": SECRET}, "jobId": SECRET, "run": SECRET})
    read = decode(record_of(GOOD, value=value))
    assert isinstance(read, Unreadable)
    assert SECRET not in read.reason


@quick
@given(job=anything(Job), state=st.sampled_from(State))
def test_the_type_of_a_job_event_is_its_state(job: Job, state: State) -> None:
    encoded = encode(JobEvent(job), source=SOURCE, at=AT)
    read = decode(record_of(encoded, headers=headers(ce_type=f"dev.openv.job.{state}.v1")))
    assert read == (JobEvent(job) if state is job.state else Unreadable(f"type dev.openv.job.{state}.v1 {MISFIT}"))


@each_message
@quick
@given(data=st.data())
def test_a_record_is_read_as_the_type_it_names_or_not_at_all(message_class: type, data: st.DataObject) -> None:
    """Whatever name is put on a record, it is read as that type or not at all."""
    encoded = encode(data.draw(anything_of(message_class)), source=SOURCE, at=AT)
    name = data.draw(st.sampled_from(TYPE_NAMES))
    read = decode(record_of(encoded, headers=headers(ce_type=name)))
    assert isinstance(read, Unreadable) or type_of(read) == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=300, deadline=None)
@given(
    topic=st.sampled_from(list(TOPICS)),
    key=st.binary(max_size=9),
    value=st.none() | st.binary(max_size=60) | JSON.map(dumped),
    named=st.none() | st.binary(max_size=9) | st.sampled_from(TYPE_NAMES).map(str.encode),
    more=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
)
def test_garbage_is_an_answer(topic: str, key: bytes, value: Any, named: bytes | None, more: Any) -> None:
    record = Record(topic, 0, 0, AT, key, value, (*more, *((("ce_type", named),) if named else ())))
    assert isinstance(decode(record), Unreadable)


@each_message
@quick
@given(data=st.data())
def test_a_spoilt_message_is_an_answer_or_still_fits(message_class: type, data: st.DataObject) -> None:
    encoded = encode(data.draw(anything_of(message_class)), source=SOURCE, at=AT)
    plain = orjson.loads(encoded.value)
    holder = plain
    while True:
        member = data.draw(st.sampled_from(sorted(holder)))
        if not (isinstance(holder[member], dict) and holder[member] and data.draw(st.booleans())):
            break
        holder = holder[member]
    holder[member] = data.draw(JSON)
    read: Message | Unreadable = decode(record_of(encoded, value=dumped(plain)))
    if not isinstance(read, Unreadable):
        again = encode(read, source=SOURCE, at=AT)
        assert decode(record_of(again)) == read, "what was taken can be written and read again"


@pytest.mark.parametrize("member", ["workerId", "session", "pool"])
def test_a_name_of_half_a_megabyte_is_unreadable(member: str) -> None:
    sent = encode(
        WorkerBeat(pool="p", worker_id="w", session="s", sequence=1, state=WorkerState.READY), source="/t", at=0
    )
    huge = orjson.dumps(orjson.loads(sent.value) | {member: "x" * 500_000})
    read = decode(record_of(sent, value=huge))
    assert isinstance(read, Unreadable)
    assert member in read.reason


def test_words_of_a_report_are_cut_and_the_report_counts() -> None:
    failed = AttemptFailed(
        command_id="c", user_id="u", job_id="j", attempt=1, worker_id="w", code=FailureCode.ENGINE_ERROR, message="x"
    )
    sent = encode(failed, source=SOURCE, at=AT)
    read = decode(record_of(sent, value=orjson.dumps(orjson.loads(sent.value) | {"message": "x" * 100_000})))
    assert isinstance(read, AttemptFailed)
    assert len(read.message) == 2_000
