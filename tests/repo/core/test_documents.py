"""What is stored can be read again, whatever names and texts users choose."""

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.core.documents import DamagedDocumentError, NotStorableError, from_document, to_document, to_moment
from schemas.accounts import Account, Grant
from tests.repo.jobs import a_job

words = st.text(max_size=20).filter(lambda text: not any(0xD800 <= ord(one) <= 0xDFFF for one in text))
instants = st.integers(0, 253_402_300_799_999)


@given(words, instants, st.floats(allow_nan=False, allow_infinity=False), words)
def test_bson_carries_every_account(user_id: str, at: int, given_credits: float, reason: str) -> None:
    grant = Grant(grant_id="g", credits=given_credits, granted_at=at, reason=reason)
    account = Account(user_id=user_id, version=1, grants=(grant,), deleted_at=at)
    document = bson.decode(bson.encode(to_document(account, user_id)))
    assert document["_id"] == user_id
    assert from_document(Account, document) == account


@given(st.dictionaries(st.one_of(words, st.text(alphabet=".$%\0a2E")), words, max_size=4))
def test_bson_carries_every_name(labels: dict[str, str]) -> None:
    job = a_job("u", labels=labels)
    account = Account(user_id="u", version=1, pending=dict.fromkeys(labels, job))
    assert from_document(Account, bson.decode(bson.encode(to_document(account, "u")))) == account


@pytest.mark.parametrize("version", [2**63, -(2**63) - 1])
def test_what_bson_cannot_carry_is_refused(version: int) -> None:
    with pytest.raises(NotStorableError):
        to_document(Account(user_id="u", version=version), "u")


def test_a_damaged_document_is_named_without_its_values() -> None:
    document = {**to_document(Account(user_id="u", version=1), "u"), "role": "a secret"}
    with pytest.raises(DamagedDocumentError, match="Account 'u': role: enum"):
        from_document(Account, document)


@given(st.integers())
def test_a_query_may_name_any_time(at: int) -> None:
    assert to_moment(at).tzinfo is not None
