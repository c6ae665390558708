"""Headers of dead letters, whoever wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.letters import NAMES, Letter, letter_of

SPRING = (
    ("kafka_dlt-original-topic", b"openv.commands"),
    ("kafka_dlt-original-partition", (5).to_bytes(4, "big")),
    ("kafka_dlt-original-offset", (77).to_bytes(8, "big")),
    ("kafka_dlt-original-timestamp", (1_700_000_000_123).to_bytes(8, "big")),
    ("kafka_dlt-original-consumer-group", b"video-workers"),
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", b"Listener failed"),
    ("kafka_dlt-exception-stacktrace", b"at com.example.Main"),
)


def test_what_spring_kafka_writes_is_read() -> None:
    assert letter_of(SPRING) == Letter(
        topic="openv.commands",
        partition=5,
        offset=77,
        timestamp=1_700_000_000_123,
        group="video-workers",
        exception="org.springframework.kafka.listener.ListenerExecutionFailedException",
        cause="java.lang.IllegalStateException",
        message="Listener failed",
        stack="at com.example.Main",
    )
    assert letter_of(SPRING).origin == "openv.commands/5/77"


@pytest.mark.parametrize("topic", ["x-original-topic", "__connect.errors.topic"])
@pytest.mark.parametrize(
    ("partition", "offset"), [(b"3", b"1234"), ((3).to_bytes(4, "big"), (1234).to_bytes(8, "big"))]
)
def test_what_others_write_is_read_as_text_or_as_numbers(topic: str, partition: bytes, offset: bytes) -> None:
    prefix = topic.removesuffix("topic")
    told = letter_of(((topic, b"a.topic"), (f"{prefix}partition", partition), (f"{prefix}offset", offset)))
    assert told.origin == "a.topic/3/1234"


def test_of_several_the_first_origin_and_the_last_exception_count() -> None:
    again = (*SPRING, ("kafka_dlt-original-topic", b"another"), ("kafka_dlt-exception-message", b"again"))
    told = letter_of(again)
    assert (told.topic, told.message) == ("openv.commands", "again")


@given(st.lists(st.tuples(st.sampled_from([n for names in NAMES.values() for n in names]), st.binary(max_size=12))))
def test_nothing_that_anybody_writes_there_is_too_much(headers: list[tuple[str, bytes]]) -> None:
    told = letter_of(headers)
    assert all(number is None or number >= 0 for number in (told.partition, told.offset, told.timestamp))


def test_nothing_is_known_of_what_is_no_letter() -> None:
    assert letter_of((("ce_id", b"1"),)) == Letter()
