"""Failure codes: each has words for a person."""

from schemas.failures import FAILURES, RETRYABLE_WORDS, FailureCode, code_of_text


def test_every_code_has_its_words() -> None:
    assert set(FAILURES) == set(FailureCode)
    assert all(words.text.strip() for words in FAILURES.values())


def test_openvs_words_in_any_case() -> None:
    assert {code_of_text(f"x {word.title()} y") for word in RETRYABLE_WORDS} == {FailureCode.TRANSIENT_ERROR}
    assert code_of_text("") is code_of_text("out of luck") is FailureCode.ENGINE_ERROR
