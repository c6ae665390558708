"""The topic table: each message on one topic, names unique, sizes sane."""

import re

import pytest

from schemas.codec import TYPE_NAMES
from schemas.topics import RECORD_MAX, TOPIC_OF, TOPICS, VALUE_MAX, Topic


def test_the_table_is_that_of_the_architecture() -> None:
    day = 24 * 3_600_000
    assert {name: topic.retention_ms for name, topic in TOPICS.items()} == {
        "openv.commands": 7 * day,
        "openv.events": 30 * day,
        "openv.dispatch": 7 * day,
        "openv.assignments": day,
        "openv.progress": 3_600_000,
        "openv.deadletter": 30 * day,
        "openv.quarantine": 90 * day,
        "openv.audit": 400 * day,
    }


def test_each_message_has_one_topic_and_one_name() -> None:
    messages = [message for topic in TOPICS.values() for message in topic.messages]
    assert len(messages) == len(set(messages)) == len(TOPIC_OF)
    assert len(TYPE_NAMES) == len(set(TYPE_NAMES))
    assert len(TYPE_NAMES) == len(messages) + 7 + 1, "eight states and two accounts stand for one class each"
    assert all(re.fullmatch(r"dev\.openv\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*", name) for name in TYPE_NAMES)


def test_decisions_take_their_time_from_the_broker() -> None:
    stamped = {name for name, topic in TOPICS.items() if topic.log_append_time}
    assert {"openv.commands", "openv.dispatch"} <= stamped
    assert "openv.events" not in stamped


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_settings_of_a_topic(topic: Topic) -> None:
    config = topic.config()
    assert topic.partitions > 0
    assert int(config["retention.ms"]) == topic.retention_ms
    assert 0 < int(config["segment.ms"]) <= topic.retention_ms, "else nothing is ever deleted"
    assert int(config["max.message.bytes"]) == RECORD_MAX > VALUE_MAX
    assert config["message.timestamp.type"] == ("LogAppendTime" if topic.log_append_time else "CreateTime")
