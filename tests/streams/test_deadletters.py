"""Dead letters: whole, with the reason, readable by Spring Kafka's tools, never too large to produce."""

import pytest

from schemas.codec import Encoded, Record
from schemas.topics import DEADLETTER, RECORD_MAX
from streams.deadletters import CannotProcess, dead_letter, describe, stack_of

RECORD = Record("openv.commands", 5, 77, 1_700_000_000_123, b"ann", b"{}", (("ce_id", b"1"), ("ce_type", b"x")))


def headers(letter: Encoded) -> dict[str, bytes]:
    return dict(letter.headers)


def test_it_carries_the_record_its_origin_and_the_reason() -> None:
    letter = dead_letter(RECORD, "openv-ledger", CannotProcess("unknown type x"))

    assert (letter.topic, letter.key, letter.value) == (DEADLETTER.name, b"ann", b"{}")
    assert headers(letter) == {
        "ce_id": b"1",
        "ce_type": b"x",
        "kafka_dlt-original-topic": b"openv.commands",
        "kafka_dlt-original-partition": (5).to_bytes(4, "big"),
        "kafka_dlt-original-offset": (77).to_bytes(8, "big"),
        "kafka_dlt-original-timestamp": (1_700_000_000_123).to_bytes(8, "big"),
        "kafka_dlt-original-consumer-group": b"openv-ledger",
        "kafka_dlt-exception-fqcn": b"streams.deadletters.CannotProcess",
        "kafka_dlt-exception-message": b"unknown type x",
        "openv_reason": b"unknown type x",
    }


def test_one_that_failed_again_keeps_its_first_origin_and_gets_its_last_reason() -> None:
    first = dead_letter(RECORD, "openv-ledger", CannotProcess("one reason"))
    replayed = Record("openv.commands", 1, 900, 5, first.key, first.value, first.headers)
    second = dead_letter(replayed, "openv-other", CannotProcess("another reason"))

    assert headers(second) == {
        **headers(first),
        "kafka_dlt-exception-message": b"another reason",
        "openv_reason": b"another reason",
    }
    assert len(second.headers) == len(first.headers)


def test_a_value_too_large_to_produce_again_is_cut_and_said_so() -> None:
    large = Record("openv.commands", 0, 0, 0, b"k", b"x" * RECORD_MAX, ())
    letter = dead_letter(large, "openv-ledger", CannotProcess("r"))

    assert len(letter.value) < RECORD_MAX - 1024
    assert headers(letter)["openv_cut_from_bytes"] == str(RECORD_MAX).encode()


def test_headers_full_of_junk_do_not_make_it_too_large() -> None:
    junk = tuple((f"h{number}", b"y" * 50_000) for number in range(18))
    letter = dead_letter(Record("t", 0, 0, 0, b"", b"v", (("ce_id", b"1"), *junk)), "g", CannotProcess("r"))

    assert headers(letter)["ce_id"] == b"1"
    assert sum(len(value) for _, value in letter.headers) < 100_000


def test_of_very_many_headers_the_first_are_kept_as_far_as_there_is_room() -> None:
    junk = tuple((f"h{number}", b"y" * 20) for number in range(5_000))
    letter = dead_letter(Record("t", 0, 0, 0, b"", b"v", (("ce_id", b"1"), *junk)), "g", CannotProcess("r"))

    kept = [name for name, _ in letter.headers if name.startswith("h")]
    assert kept == [name for name, _ in junk[: len(kept)]]
    assert 120_000 < sum(len(name) + len(value) + 16 for name, value in letter.headers) < 140_000


def test_a_record_without_key_or_value_has_a_letter_too() -> None:
    empty = Record("t", 0, 0, 0, None, None, (("a", None),))  # type: ignore[arg-type]
    letter = dead_letter(empty, "g", CannotProcess("no value"))
    assert (letter.key, letter.value) == (b"", b"")


def test_what_is_said_of_an_exception_does_not_quote_it() -> None:
    with pytest.raises(KeyError) as caught:
        {}["a secret prompt"]

    assert describe(caught.value).startswith("KeyError in test_what_is_said_of_an_exception_does_not_quote_it")
    assert "secret" not in describe(caught.value)
    assert "test_deadletters.py" in stack_of(caught.value)
