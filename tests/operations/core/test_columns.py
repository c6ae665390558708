"""Which columns fit: nothing is cut, what matters stays, and what is left out is named."""

import random

import pytest

from operations.core.columns import GAP, UNBROKEN, Column, Layout, layout

JOBS = (Column("job"), Column("user", 2), Column("state"), Column("code", 1), Column("worker", 3))
WORDS = (Column("id"), Column("reason", 1, folds=20))


def test_what_fits_is_shown_whole() -> None:
    assert layout(JOBS, (36, 5, 9, 0, 8), (36, 5, 9, 0, 8), 80) == Layout((0, 1, 2, 3, 4), (36, 5, 9, 4, 8))


def test_empty_columns_go_before_any_that_hold_something() -> None:
    assert layout(JOBS, (36, 5, 9, 0, 20), (36, 5, 9, 0, 20), 76) == Layout((0, 1, 2, 4), (36, 5, 9, 20), brief=True)


def test_the_least_important_is_left_out_and_named() -> None:
    found = layout(JOBS, (36, 8, 9, 13, 20), (36, 8, 9, 13, 20), 80)
    assert found == Layout((0, 1, 2, 3), (36, 8, 9, 13), brief=True, left_out=("worker",))


def test_a_column_that_does_not_fit_keeps_no_smaller_one_out() -> None:
    found = layout(JOBS, (36, 40, 9, 13, 10), (36, 40, 9, 13, 10), 80)
    assert found is not None
    assert (found.shown, found.left_out) == ((0, 2, 3, 4), ("user",))


def test_words_are_folded_to_what_is_left() -> None:
    assert layout(WORDS, (10, 200), (10, 200), 80) == Layout((0, 1), (10, 68), brief=True)
    assert layout(WORDS, (10, 200), (10, 200), 31) == Layout((0,), (10,), brief=True, left_out=("reason",))


def test_no_column_is_narrower_than_its_longest_word() -> None:
    assert layout(WORDS, (10, 200), (10, 200), 48, (10, 36)) == Layout((0, 1), (10, 36), brief=True)
    assert layout(WORDS, (10, 200), (10, 200), 47, (10, 36)) == Layout((0,), (10,), brief=True, left_out=("reason",))
    assert layout(WORDS, (10, 900), (10, 900), 80, (10, 300)) == Layout((0, 1), (10, 68), brief=True)


def test_words_that_find_no_room_go_below_and_are_not_left_out() -> None:
    columns = (Column("id"), Column("detail", 2, folds=20, below=True), Column("from", 1, folds=12))
    beside = layout(columns, (10, 200, 12), (10, 200, 12), 80, (10, 36, 12))
    assert beside == Layout((0, 1, 2), (10, 54, 12), brief=True)
    below = layout(columns, (10, 200, 12), (10, 200, 12), 60, (10, 36, 12))
    assert below == Layout((0, 2), (10, 12), brief=True, below=(1,))
    assert layout(columns, (10, 200, 12), (10, 200, 12), 9) is None


def test_where_what_matters_does_not_fit_there_is_no_table() -> None:
    assert layout(JOBS, (36, 5, 9, 0, 8), (36, 5, 9, 0, 8), 46) is None


@pytest.mark.parametrize("seed", range(200))
def test_whatever_there_is_it_fits_and_holds_together(seed: int) -> None:
    chance = random.Random(seed)
    columns = [
        Column(
            f"c{at}" * chance.randint(1, 4),
            chance.randint(0, 5),
            chance.choice((0, 0, 12, 20)),
            below=chance.random() < 0.2,
        )
        for at in range(chance.randint(1, 9))
    ]
    whole = [chance.choice((0, 3, 9, 24, 36, 90)) for _ in columns]
    brief = [min(size, chance.choice((2, 8, 90))) for size in whole]
    width = chance.randint(20, 160)
    longest = [min(size, chance.choice((1, 8, 24, 36, 90))) for size in brief]
    found = layout(columns, whole, brief, width, longest)
    if found is None:
        always = [at for at, column in enumerate(columns) if not column.rank and not column.below and whole[at]]
        least = [
            max(min(brief[at], max(columns[at].folds or 99, min(longest[at], UNBROKEN))), len(columns[at].name))
            for at in always
        ]
        assert sum(least) + GAP * (len(least) - 1) > width
        return
    assert sum(found.widths) + GAP * (len(found.widths) - 1) <= width
    sizes = brief if found.brief else whole
    for at, given in zip(found.shown, found.widths, strict=True):
        assert given >= len(columns[at].name)
        assert given >= (min(columns[at].folds, sizes[at]) if columns[at].folds else sizes[at])
        assert given >= min(longest[at], UNBROKEN) or not found.brief
    hidden = {columns[at].name for at in range(len(columns)) if at not in found.shown and whole[at]}
    below = {columns[at].name for at in found.below}
    assert hidden == set(found.left_out) | below
    assert set(found.below).isdisjoint(found.shown)
    assert all(columns[at].below for at in found.below)
