"""What ``DispositionStore`` promises, held against the memory twin and against the database."""

import asyncio
import uuid
from dataclasses import replace
from random import randrange

import pytest

from repo.letters import DispositionStore
from repo.memory import MemoryDispositionStore
from repo.mongo import MongoDatabase
from repo.ports import Unavailable
from schemas.dispositions import Disposition, Fate

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> DispositionStore:
    if request.param == "memory":
        return MemoryDispositionStore()
    found: MongoDatabase = request.getfixturevalue("mongo")
    return found.dispositions


@pytest.fixture
def place() -> str:
    return f"0:{randrange(10**15)}"


def redriven(letter: str, replay_id: str = "r-1") -> Disposition:
    return Disposition(
        letter=letter, letter_at=NOW, fate=Fate.REDRIVEN, at=NOW + 5, actor="ann@host", replay_id=replay_id
    )


async def test_every_member_comes_back(store: DispositionStore, place: str) -> None:
    full = replace(redriven(place), fate=Fate.EDITED, reason="a $et of .words", before="0a", after="0b")
    assert await store.dispose([full]) == {place}
    assert await store.dispositions([place, "1:0"]) == {place: full}
    assert await store.dispositions([]) == {}


async def test_the_first_word_stands_unless_it_is_overruled(store: DispositionStore, place: str) -> None:
    first, second = redriven(place, "r-1"), redriven(place, "r-2")
    other = redriven(f"{place}9", "r-2")
    await store.dispose([first])
    assert await store.dispose([first]) == {place}, "said twice"
    assert await store.dispose([second, other]) == {other.letter}
    assert (await store.dispositions([place]))[place] == first
    assert await store.dispose([second], over=True) == {place}
    assert (await store.dispositions([place]))[place] == second


async def test_of_many_at_once_one_wins(store: DispositionStore, place: str) -> None:
    letters = [f"{place}{number}" for number in range(20)]
    claims = [[redriven(letter, f"r-{number}") for letter in letters] for number in range(6)]
    won = await asyncio.gather(*(store.dispose(claim) for claim in claims))
    assert sorted(letter for claimed in won for letter in claimed) == sorted(letters)


async def test_a_letter_of_a_topic_made_anew_is_another(store: DispositionStore, place: str) -> None:
    await store.dispose([redriven(place)])
    anew = replace(redriven(place, "r-2"), letter_at=NOW + 1)
    assert await store.dispose([anew]) == {place}
    assert (await store.dispositions([place]))[place] == anew


async def test_what_was_claimed_for_a_replay_that_is_not_to_be_is_free_again(
    store: DispositionStore, place: str
) -> None:
    mine, others = redriven(place), redriven(f"{place}1", "r-2")
    await store.dispose([mine, others])
    await store.revoke([mine.letter, others.letter], "r-1")
    assert await store.dispositions([mine.letter, others.letter]) == {others.letter: others}


async def test_those_of_letters_that_are_gone_go(store: DispositionStore, place: str) -> None:
    old = replace(redriven(place), letter_at=5_000)
    new = redriven(f"{place}1")
    await store.dispose([old, new])
    assert await store.forget_dispositions(6_000) >= 1
    assert await store.dispositions([old.letter, new.letter]) == {new.letter: new}


async def test_more_than_fit_into_one_question(store: DispositionStore) -> None:
    run = uuid.uuid4().hex
    many = [redriven(f"{run}:{number}") for number in range(1_203)]
    assert len(await store.dispose(many)) == len(many)
    assert len(await store.dispositions([one.letter for one in many])) == len(many)


async def test_an_outage_is_an_outage() -> None:
    store = MemoryDispositionStore()
    store.away = True
    with pytest.raises(Unavailable):
        await store.dispositions(["0:1"])
