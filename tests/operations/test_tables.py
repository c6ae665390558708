"""Rows at 80 columns, in a narrow terminal, in a dumb one, and in a pipe: ids whole, nothing cut, nothing obeyed."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from operations import keys
from operations.audit import cli as audit_cli
from operations.cli import app
from operations.core.columns import Column
from operations.deadletters import views as letters
from operations.endpoints import views as endpoint_views
from operations.jobs import commands as jobs_commands
from operations.jobs import views as jobs
from operations.jobs.listing import Sought
from operations.recovery import views as recovery
from operations.replay import views as replays
from operations.tables import Brief, age, print_about, print_rows
from operations.users import commands as users_commands
from operations.workers import views as workers
from schemas.lifecycle import State

ID = "0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55"
CLERK = "user_2abcDEFghiJKLmnoPQRstuVWXyz01"
STEERING = "a\x1b[2J\u202eb"
PRINTED = {
    "jobs list": jobs._JOBS, "attempts": jobs._ATTEMPTS, "timeline": jobs._STEPS, "files": jobs._FILES,
    "workers list": workers._WORKERS, "workers pools": workers._POOLS, "deadletters list": letters._LETTERS,
    "replays list": replays._REPLAYS, "records": replays._RECORDS, "rebuild": recovery._DIFFERENCES,
    "users list": (*users_commands._USERS, *users_commands._STANDING), "endpoints list": endpoint_views.COLUMNS,
    "keys list": keys._KEYS, "audit list": audit_cli.COLUMNS, "chosen jobs": jobs_commands._CHOSEN,
}  # fmt: skip
# As long as they come, by the columns' names; a row of another has 12 characters.
LONG = {
    "job": ID, "user": CLERK, "state": "processing", "code": "storage_unavailable", "worker": f"{'w' * 24}-worker-1",
    "id": "r-k3m8x2pq", "record": "12:123456789", "key": "ov_Ab3xCd4y…", "endpoint": "upscale", "created": "12d ago",
    "did": "deadletters.read-words", "to": ID, "when": "12d ago", "oldest": "3h ago", "time": "09:00:00.000",
    "reason": "could not decide: the document that it names is damaged, and so it was set aside",
    "file": f"users/{CLERK}/{ID}/1/video.mp4", "there": "not known", "started": "09:00:00.000", "kind": "dead letter",
    "where": "openv.assignments/12/123456789",
}  # fmt: skip
WIDE = frozenset({"jobs list", "workers list", "audit list", "users list", "endpoints list", "timeline", "files"})


def printed(columns: tuple[Column, ...], rows: list[tuple[str | Brief, ...]], **console: object) -> str:
    out = io.StringIO()
    print_rows(Console(file=out, color_system=None, **console), columns, rows)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("name", PRINTED)
@pytest.mark.parametrize("width", [30, 80, 132])
def test_no_line_is_wider_than_the_terminal_and_no_id_is_broken(
    name: str, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = PRINTED[name]
    row = tuple(LONG.get(column.name, "x" * 12) for column in columns)
    text = printed(columns, [row, row], force_terminal=True, width=width)
    left_out = capsys.readouterr().err.partition(". --json")[0].partition(": ")[2].split(", ")
    assert "…" not in text.replace(LONG["key"], "")
    for column, cell in zip(columns, row, strict=True):
        if column.name in left_out:
            assert column.rank, f"{column.name} is never left out"
        elif not column.folds:
            assert text.count(cell) >= 2, f"{column.name} is whole, on one line"
    if f"{columns[0].name}: " not in text:  # a table: a block's lines are as long as what is in them
        assert max(map(cell_len, text.splitlines())) <= width
    assert left_out == [""] or width <= 80 or name in WIDE


@pytest.mark.parametrize("name", PRINTED)
def test_in_a_pipe_each_row_is_a_line_with_everything(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    columns = PRINTED[name]
    row = tuple("y" * 300 if column.folds else LONG.get(column.name, "x" * 12) for column in columns)
    text = printed(columns, [row, ("",) * len(columns)], width=80)
    head, first, second = text.splitlines()
    assert all(column.name in head for column in columns)
    assert first.split("  ") == list(row) or all(cell in first for cell in row)
    assert second.split() == ["–"] * len(columns)
    assert capsys.readouterr().err == ""


def test_what_finds_no_room_is_below_its_row_and_no_word_is_broken() -> None:
    columns = (Column("id"), Column("kind", 1), Column("detail", 2, folds=12, below=True))
    rows = [("r-1", "x" * 30, f"to {ID}, due 2026-11-22T10:09:23.238Z, {'word ' * 30}"), ("r-2", "x", "")]
    head, first, *below, last = printed(columns, rows, force_terminal=True, width=60).splitlines()
    assert (head.split(), first.split(), last.split()) == (["id", "kind"], ["r-1", "x" * 30], ["r-2", "x"])
    assert below[0] == f"  detail: to {ID}, due"
    assert below[1].startswith("          2026-11-22T10:09:23.238Z, word")
    assert max(map(cell_len, below)) <= 60
    assert " ".join(" ".join(below).split()) == f"detail: {rows[0][2]}".strip()


def test_what_is_left_out_is_named_with_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    printed((Column("id"), Column("pool", 1)), [(ID, "x" * 30)], force_terminal=True, width=60)
    said = "Left out, for want of width: pool. --json has all; so have a pipe and a wider terminal.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("terminal", [True, False])
def test_where_there_are_no_rows_it_is_said_and_whoever_reads_the_answer_gets_none(
    terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed((Column("id"),), [], force_terminal=terminal) == ""
    assert capsys.readouterr().err == "There are none.\n"
    print_rows(Console(force_terminal=terminal), (Column("id"),), [], none="No jobs match.")
    assert capsys.readouterr() == ("", "No jobs match.\n")


def test_a_dumb_terminal_gets_lines_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    columns = (Column("id"), Column("words", folds=10))
    out = io.StringIO()
    print_rows(Console(file=out, force_terminal=True, width=40), columns, [(ID, "some words " * 9)])
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["id", ID]
    assert "\x1b" not in out.getvalue()


def test_without_colours_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    print_rows(Console(file=out, force_terminal=True, width=40), (Column("id"),), [("1",)])
    assert "\x1b[3" not in out.getvalue()


def test_no_cell_steers_the_terminal() -> None:
    out = io.StringIO()
    for console in (Console(file=out, width=80), Console(file=out, force_terminal=True, width=80, color_system=None)):
        print_rows(console, (Column("a"), Column("b", folds=10)), [(STEERING, "[red]x")], STEERING)
        print_about(console, {"name": STEERING, "lines": ("[bold]x", STEERING)}, STEERING)
    text = out.getvalue()
    assert [one for one in text if not one.isprintable() and one != "\n"] == []
    assert text.count("[red]x") == 2
    assert text.count("[bold]x") == 2


def test_a_member_is_folded_at_words_and_what_can_not_be_folded_is_whole() -> None:
    out = io.StringIO()
    url = f"https://openv.example.org/{'p' * 90}"
    print_about(
        Console(file=out, force_terminal=True, width=40, color_system=None), {"words": "word " * 20, "url": url}
    )
    *folded, last = out.getvalue().splitlines()
    assert len(folded) > 2
    assert all(cell_len(line) <= 40 for line in folded)
    assert last == f"url    {url}"


def test_a_word_that_is_too_long_breaks_no_other() -> None:
    out = io.StringIO()
    url = f"https://openv.example.org/{'p' * 90}"
    said = f"  {ID}  is at {url} since {ID}"
    print_about(Console(file=out, force_terminal=True, width=60, color_system=None), {"told": said, "none": ""})
    lines = out.getvalue().splitlines()
    assert lines == [f"told    {ID}  is at", f"      {url}", f"      since {ID}", "none"]


def test_a_short_form_is_for_terminals_that_are_too_narrow() -> None:
    cells = (Brief("2026-11-22T09:00:00.000Z", "5m ago"), "x" * 40)
    columns = (Column("at"), Column("b"))
    assert "2026" in printed(columns, [cells], force_terminal=True, width=80)
    assert "5m ago" in printed(columns, [cells], force_terminal=True, width=60)
    assert "2026" in printed(columns, [cells], width=10)
    ages = [age(0, at * 1_000) for at in (0, 119, 120, 7_199, 7_200, 172_799, 172_800)]
    assert ages == ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]


def test_what_the_list_prints_can_be_piped_into_the_acts() -> None:
    text = printed(jobs._JOBS, [tuple("x" for _ in jobs._JOBS), (ID, *("y" for _ in jobs._JOBS[1:]))])
    assert jobs_commands._read_ids(io.StringIO(text)) == ("x", ID)


def test_options_that_commands_share_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    async def wish(_data_dir: object, wish: object, _console: object, *, as_json: bool) -> int:
        told.append((wish, as_json))
        return 0

    monkeypatch.setattr(jobs_commands, "act_on_jobs", wish)
    words = ["jobs", "kill", "--user", "ann", "--state", "queued", "--state", "processing", "--most", "3", "--final"]
    result = CliRunner().invoke(app, [*words, "--reason", "hangs", "--execute", "--json"])
    assert result.exit_code == 0, result.output
    sought = Sought(user="ann", states=(State.QUEUED, State.PROCESSING))
    asked = jobs_commands.Asked("hangs", True)
    assert told == [(jobs_commands.Wish(jobs_commands.Verb.KILL, (), sought, 3, asked, True), True)]


def effects(**other: object) -> dict[str, object]:
    none = dict.fromkeys(("generations", "seconds", "credits", "accounts", "forgotten"), 0)
    counted: dict[str, object] = {name: {} for name in ("deliveries", "jobs", "deadLetters", "refusals", "announced")}
    return {**none, **counted, "decided": 6, "outcomes": {"admitted": 6}, **other}


def test_what_a_replay_would_change_comes_first_also_where_it_is_nothing() -> None:
    assert replays.changes(effects()) == {
        "generations": "+0", "charged": "+0 s, +0 credits", "webhooks and mails": "+0", "jobs": "0", "accounts": "0",
        "new dead letters": "+0",
    }  # fmt: skip
    again = replays.decided_again(effects())
    assert again == {"records": f"6. {replays.NOTHING_CHANGES}", "answered": "6 (6 admitted)"}
    changing = effects(generations=2, seconds=1.5, jobs={"none → queued": 2})
    assert replays.changes(changing)["generations"] == "+2"
    assert replays.changes(changing)["jobs"] == "2 (2 none → queued)"
    assert replays.decided_again(changing)["records"] == "6"
    out = io.StringIO()
    replays._effects(effects(), Console(file=out))
    text = out.getvalue()
    assert text.index("generations") < text.index("charged") < text.index("webhooks") < text.index("admitted")
