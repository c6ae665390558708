"""The page that the benchmarks write, and the rounds and spans that they are made of."""

import asyncio
from pathlib import Path

import pytest

from bench import machine, report
from bench.driver import Failed
from bench.figures import Aim, Figure
from bench.loads import closed_loop
from bench.measurement import Measurement
from bench.registry import MEASUREMENTS
from bench.rounds import by_turns
from bench.spans import span_of
from bench.world import World
from repo.ports import Position


async def nothing(_world: World) -> list[Figure]:
    raise AssertionError("not run here")


FIRST = Measurement("first", "The first", "One thing against another.", nothing)
SECOND = Measurement("second", "The second", "By itself.", nothing)
FIGURE = Figure("p50", "ms", (3.0, 5.0, 4.0), (2.0, 2.0, 1.0), Aim("ratio", "at most", 2.0))
ALONE = Figure("rate", "/s", (1_234.5,))


def test_the_page_says_plainly_where_it_stands(tmp_path: Path) -> None:
    results = {"first": report.section([FIGURE], "a machine"), "second": report.section([ALONE], "another")}
    report.write(results, [FIRST, SECOND], tmp_path / "results.json", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| The first: p50 | at most 2 × | 2.5 × (1.5 – 4) | **not met** |" in page
    assert "| p50 | 4 ms (3 – 5) | 2 ms (1 – 2) | 2.5 × (1.5 – 4) | at most 2 × | not met |" in page
    assert "| rate | 1,234 /s | – | – |  |  |" in page
    assert "One thing against another." in page
    assert "3 rounds, on a machine." in page


def test_one_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    at, page = tmp_path / "results.json", tmp_path / "page.md"
    report.write({"first": report.section([FIGURE], "then")}, [FIRST, SECOND], at, page)
    results = report.read(at) | {"second": report.section([ALONE], "now"), "gone": report.section([ALONE], "then")}
    report.write(results, [FIRST, SECOND], at, page)
    assert set(report.read(at)) == {"first", "second"}
    assert report.read(at)["first"]["machine"] == "then"


def test_without_a_run_there_is_nothing(tmp_path: Path) -> None:
    assert report.read(tmp_path / "results.json") == {}


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    assert report.PAGE.read_text() == report.as_page(report.read(), MEASUREMENTS)


def test_the_machine_has_no_name() -> None:
    words = machine.in_words()
    assert "cores" in words
    assert "/" not in words


def test_all_measurements_together_are_bounded() -> None:
    assert len({one.name for one in MEASUREMENTS}) == len(MEASUREMENTS)
    assert all(one.how and one.title for one in MEASUREMENTS)


async def test_the_baseline_follows_ours_and_is_given_what_it_was() -> None:
    seen: list[str] = []

    async def ours() -> int:
        seen.append("ours")
        return len(seen)

    async def baseline(our: int) -> int:
        seen.append("baseline")
        return our * 10

    assert await by_turns(2, ours, baseline) == [(1, 10), (3, 30)]
    assert seen == ["ours", "baseline", "ours", "baseline"]


async def test_a_load_asks_every_question_once_with_so_many_at_a_time() -> None:
    asked: list[int] = []
    under_way: set[int] = set()
    most = 0

    async def request(client: int, number: int) -> None:
        nonlocal most
        assert client not in under_way
        under_way.add(client)
        most = max(most, len(under_way))
        asked.append(number)
        for _ in range(number % 3 + 1):
            await pause()
        under_way.remove(client)

    answer = await closed_loop(4, 25, request)
    assert sorted(asked) == list(range(25))
    assert most == 4
    assert len(answer["ms"]) == 25


async def pause() -> None:
    """Let the others go."""
    await asyncio.sleep(0)


def test_a_span_is_around_all_of_a_partition() -> None:
    assert span_of([Position(0, 7), Position(3, 2), Position(0, 5)]) == {0: (5, 8), 3: (2, 3)}


async def test_a_load_whose_request_fails_says_which() -> None:
    async def request(_client: int, number: int) -> None:
        if number == 3:
            raise Failed("the third")

    with pytest.raises(Failed, match="the third"):
        await closed_loop(2, 10, request)
