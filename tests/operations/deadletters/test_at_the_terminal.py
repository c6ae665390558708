"""What the commands say of letters that can't be redriven, and that a discard shows first what it would do."""

import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from operations.core.dead_letters import By, Seen, Sought, Standing
from operations.deadletters import commands, reading, views
from operations.deadletters.commands import Aim, Wish
from operations.deadletters.reading import Listing
from operations.replay.execution import Wishes
from operations.replay.room import Room
from schemas.dispositions import Fate
from schemas.topics import COMMANDS
from tests.operations.deadletters.test_planned import Letters, letter, said

HERE = Path("nowhere")
NOW = Aim(9, None, execute=False)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Letters:
    letters = Letters(monkeypatch, 1, 2)

    @asynccontextmanager
    async def room(_: Path) -> AsyncIterator[Any]:
        yield letters.room

    monkeypatch.setattr(commands, "room", room)
    return letters


@pytest.fixture
def unreadable(topic: Letters) -> Letters:
    for offset, one in topic.there.items():
        record = replace(one.record, value=b"\x00", headers=())
        topic.there[offset] = replace(one, record=record, letter=replace(one.letter, topic=COMMANDS.name))
    return topic


@pytest.mark.parametrize(
    ("wish", "way"),
    [
        (Wish((), Sought(), everything=True), 'openv deadletters discard --all --reason "…"`;'),
        (Wish(("0:1", "0:2"), Sought()), 'openv deadletters discard 0:1 0:2 --reason "…"`;'),
        (Wish((), Sought(types=("a",))), 'openv deadletters discard --reason "…"` with the same filters'),
    ],
)
async def test_where_nothing_can_be_redriven_the_way_out_is_named(
    unreadable: Letters, wish: Wish, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    redrive = commands.redrive_letters
    assert await redrive(HERE, wish, Wishes(), "", Console(file=out), execute=False, as_json=False) == 0
    assert "can't be read by this version either" in out.getvalue()
    told = capsys.readouterr()
    assert told.out == ""
    assert "None of these can be redriven" in told.err
    assert way in told.err


async def test_of_letters_that_were_discarded_nothing_has_to_be_done(
    unreadable: Letters, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable.there[1] = replace(unreadable.there[1], standing=Standing.DISCARDED)
    console = Console(file=io.StringIO())
    await commands.redrive_letters(HERE, Wish(("0:1",), Sought()), Wishes(), "", console, execute=False, as_json=False)
    assert "nothing has to be done" in (told := capsys.readouterr().err)
    assert "deadletters discard" not in told


def said_of(found: Listing, others: tuple[By, Listing] | None = None) -> str:
    out = io.StringIO()
    views.print_nothing(Console(file=out, width=500), found, others)
    return out.getvalue()


def test_an_empty_list_says_what_there_is_instead(topic: Letters, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_of(Listing()) == "No dead letters.\n"
    others = Listing()
    for one in topic.there.values():
        others.counts.add(one, By.REASON)
    assert (
        said_of(Listing(), (By.REASON, others)) == "None matches. There are, of whatever state, by reason: 2 a bug.\n"
    )
    assert said_of(Listing(), (By.REASON, Listing())) == "No dead letters.\n"
    assert capsys.readouterr().err == ""
    waits = Listing(passed=Counter({"redriving": 3, "discarded": 1}), waiting=Counter({"r-abc": 3}))
    assert said_of(waits).startswith("None in the state that was asked for, but 3 redriving, 1 discarded")
    told = capsys.readouterr().err
    assert told == "3 more are in r-abc, which is not over: `openv replay r-abc --continue`.\n"


async def test_a_list_tells_of_those_that_a_replay_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = Letters(monkeypatch, 1, 2, 3)
    has = said(2, 5, "r-abc")
    topic.there[2] = letter(2, Standing.REDRIVING, has)
    topic.there[3] = letter(3, Standing.DISCARDED)

    async def everything(_: Room, __: Sought) -> AsyncIterator[list[Seen]]:
        yield list(topic.there.values())

    monkeypatch.setattr(reading, "_in_any_state", everything)
    found = await reading.listing(topic.room, Sought(), By.REASON, 10)
    assert ([one.place for one in found.newest], found.counts.letters) == (["0:1"], 1)
    assert (found.passed, found.waiting) == ({"redriving": 1, "discarded": 1}, {"r-abc": 1})
    views.print_listing(Console(file=io.StringIO()), found, By.REASON)
    assert "1 more is in r-abc, which is not over" in capsys.readouterr().err


def test_a_letter_is_told_in_words_and_each_thing_once(unreadable: Letters) -> None:
    whole = views.about(letter(7))
    assert (whole["state"], whole["reason"], whole["can be redriven"]) == ("open", "a bug", "yes")
    one = replace(unreadable.there[1], disposition=said(1, 5, fate=Fate.DISCARDED), standing=Standing.DISCARDED)
    reason = views.letter_plain(one, value=False)["unreadable"]
    told = views.about(replace(one, letter=replace(one.letter, reason=reason, message=reason)))
    assert str(told).count(reason) == 1
    assert told["can be redriven"] == "no: for that reason"
    assert str(told["state"]).startswith("discarded, by op at 1970-")
    assert "timesReplayed" in views.letter_plain(one, value=False), "programs have what they had"


async def test_named_letters_are_discarded_only_with_execute(
    topic: Letters, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = Wish(("0:1",), Sought())
    await commands.discard_letters(HERE, wish, "a test", NOW, as_json=False)
    assert (
        "1 dead letter would be discarded. Nothing was: the same with `--execute` does it." in capsys.readouterr().out
    )
    assert await topic.database.dispositions.dispositions(["0:1"]) == {}
    await commands.discard_letters(HERE, wish, "a test", replace(NOW, execute=True), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["letters"], told["executed"], told["expect"]) == (1, True, None)
    assert len(await topic.database.dispositions.dispositions(["0:1"])) == 1


async def test_those_sought_are_discarded_as_they_were_found(
    topic: Letters, capsys: pytest.CaptureFixture[str]
) -> None:
    await commands.discard_letters(HERE, Wish((), Sought(), everything=True), "a test", NOW, as_json=False)
    assert "2 dead letters would be discarded" in (told := capsys.readouterr().out)
    assert "--execute --expect 2-9-" in told
