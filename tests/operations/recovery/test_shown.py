"""What a restore and a comparison say, of one as of many."""

import pytest
from rich.console import Console

from operations.recovery.rebuild import Rebuilt
from operations.recovery.verify import Comparison
from operations.recovery.views import show_comparison, show_rebuilt


@pytest.mark.parametrize(
    ("jobs", "unreadable", "said"),
    [
        (1, 1, ("1 job, 2 accounts.", "1 event can't be read.")),
        (1_200, 2, ("1,200 jobs, 2 accounts.", "2 events can't be read.")),
    ],
)
def test_one_is_told_as_one(
    jobs: int, unreadable: int, said: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    found = Comparison({"jobs": jobs, "accounts": 2}, 0, unreadable, 0, ())
    show_comparison(found, Console(width=200), as_json=False)
    out = capsys.readouterr().out
    assert all(words in out for words in said), out


def test_a_rebuild_says_how_many_it_compared_and_how_many_it_changed(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"jobs": 0, "accounts": 0}
    three = {"jobs": 3, "accounts": 3}
    found = Comparison(nothing, 0, 0, 0, (), read=0, stored=three, told_of=nothing)
    show_rebuilt(Rebuilt(0, 0, 0, nothing, found), Console(width=400), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "Brought up to date: 0 jobs, 0 accounts.",
        "Compared with what 0 records of openv.events told: 0 of 3 jobs, 0 of 3 accounts.",
        "As last announced: 0 jobs, 0 accounts. Different: 0. Events whose document is newer (no difference): 0.",
        (
            "Not compared, because none of these records tells of them: 3 jobs, 3 accounts. "
            "`openv rebuild --verify` compares with all that openv.events still keeps."
        ),
        "The database is open.",
    ]


@pytest.mark.parametrize(
    ("told_of", "said"),
    [
        (
            {"jobs": 3, "accounts": 2},
            [
                "Compared with what 9 records of openv.events told: 3 of 3 jobs, 2 of 3 accounts.",
                "Not compared, because none of these records tells of them: 1 account.",
            ],
        ),
        (
            {"jobs": 3, "accounts": 3},
            ["Compared with what 9 records of openv.events told: 3 of 3 jobs, 3 of 3 accounts."],
        ),
        (None, ["Stored: 3 jobs, 3 accounts. Compared: those that 9 records of openv.events told of."]),
    ],
)
def test_a_comparison_says_what_it_could_not_compare(
    told_of: dict[str, int] | None, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    same = {"jobs": 3, "accounts": 2}
    found = Comparison(same, 0, 0, 0, (), read=9, stored={"jobs": 3, "accounts": 3}, told_of=told_of)
    show_comparison(found, Console(width=400), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Nothing was changed."
    assert [one for one in lines if "ompared" in one] == said
