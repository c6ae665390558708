"""How the doctor's findings look: names and words apart, folded at the terminal's width; and which checks are named."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from operations.cli import app
from operations.core.findings import Finding, note, ok, problem
from operations.doctor import commands
from operations.doctor.examine import CHECKS
from operations.doctor.views import show

WHY = " ".join(["users wait for their videos"] * 6)
FOUND = [ok("kafka", "3 brokers"), note("certificates", "none ends soon"), problem("jobs", WHY, WHY, "openv rebuild")]


def shown(found: list[Finding], **console: object) -> list[str]:
    out = io.StringIO()
    show(Console(file=out, color_system=None, **console), found)  # type: ignore[arg-type]
    return out.getvalue().splitlines()


def test_lines_are_folded_at_the_terminals_width_and_begin_below_each_other() -> None:
    lines = shown(FOUND, force_terminal=True, width=80)
    at = lines[0].index("3 brokers")
    assert lines[1] == f"{'note':<8}certificates  none ends soon"
    assert lines[1].index("none") == at
    assert max(map(len, lines)) <= 80
    told = lines[2:-1]
    assert len(told) > 4
    assert all(line[:at].strip() in ("", "PROBLEM jobs") for line in told)
    assert " ".join(line[at:] for line in told) == f"{WHY} {WHY} → openv rebuild"


def test_in_a_pipe_nothing_is_folded_and_no_name_touches_a_word() -> None:
    longest = max(CHECKS, key=len)
    lines = shown([*FOUND, note(longest, "a\x1b[2Jb")], width=80)
    assert [line.split() for line in lines[2:4]] == [["PROBLEM", "jobs", *WHY.split()], WHY.split()]
    assert lines[-2].split() == ["note", longest, "a\ufffd[2Jb"]


@pytest.mark.parametrize(
    ("said", "looked_at"),
    [((), []), (("kafka,topics",), ["kafka", "topics"]), (("kafka", " topics , s3"), ["kafka", "topics", "s3"])],
)
def test_several_checks_are_named_one_by_one_or_in_one_word(
    said: tuple[str, ...], looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    async def doctor(*_: object, only: list[str], **__: object) -> int:
        asked.append(only)
        return 0

    monkeypatch.setattr(commands, "doctor", doctor)
    result = CliRunner().invoke(app, ["doctor", *(word for one in said for word in ("--only", one))])
    assert result.exit_code == 0, result.output
    assert asked == [looked_at]
