"""What a restore and a comparison say, of one as of many."""

import pytest
from rich.console import Console

from operations.recovery.verify import Comparison
from operations.recovery.views import show_comparison


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
