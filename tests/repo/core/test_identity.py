"""Which database is taken for the known one."""

from dataclasses import replace

import pytest

from repo.core.identity import ANOTHER, CLOSED, LOST, REPLACED, Verdict, judged
from schemas.identities import Identity, Standing

KNOWN = Identity(identity="one", made_at=1)
PREPARED = Identity(identity="two", made_at=2)
RECOVERED = replace(PREPARED, recovered=True)


@pytest.mark.parametrize("adopts", [True, False])
def test_the_known_one_is_known_again_and_a_first_one_is_taken(adopts: bool) -> None:
    assert judged(None, None, adopts=adopts) == Verdict(None)
    assert judged(None, KNOWN, adopts=adopts) == Verdict(KNOWN)
    assert judged(None, RECOVERED, adopts=adopts) == Verdict(RECOVERED)
    assert judged(KNOWN, replace(KNOWN, backup_id="b"), adopts=adopts) == Verdict(replace(KNOWN, backup_id="b"))


@pytest.mark.parametrize("adopts", [True, False])
def test_none_and_another_that_nobody_put_there_are_refused(adopts: bool) -> None:
    assert judged(KNOWN, None, adopts=adopts) == Verdict(KNOWN, LOST)
    assert judged(KNOWN, PREPARED, adopts=adopts) == Verdict(KNOWN, ANOTHER)


@pytest.mark.parametrize("known", [None, KNOWN, RECOVERED])
@pytest.mark.parametrize("standing", [one for one in Standing if one is not Standing.OPEN])
def test_one_that_is_under_repair_is_refused_to_all(known: Identity | None, standing: Standing) -> None:
    for found in (replace(KNOWN, standing=standing), replace(RECOVERED, standing=standing)):
        assert judged(known, found, adopts=True) == Verdict(known, CLOSED[standing])


def test_one_that_an_operator_put_there_is_gone_on_with_or_begun_anew_on() -> None:
    assert judged(KNOWN, RECOVERED, adopts=True) == Verdict(RECOVERED)
    assert judged(KNOWN, RECOVERED, adopts=False) == Verdict(KNOWN, REPLACED, replaced=True)


def test_every_standing_has_words() -> None:
    assert set(CLOSED) == set(Standing) - {Standing.OPEN}
