"""What is shown of a job: what its user wrote on demand alone, secrets never, and nothing that steers a terminal."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from operations.cli import app
from operations.core.printable import printable
from operations.core.timeline import Step
from operations.desk import Desk
from operations.jobs import commands
from operations.jobs.life import File, Life
from operations.jobs.listing import Sought, sought_of
from operations.jobs.views import job_plain, life_plain, print_life, print_list
from operations.stack.errors import StackError
from repo.memory import MemoryDatabase, MemoryEventLog
from schemas.failures import FailureCode
from schemas.jobs import Failure, Output
from schemas.lifecycle import State
from tests.repo.jobs import NOW, a_job

SECRET = "nobody else may read this"
CURSOR_UP = "\x1b[2A"
JOB = a_job(
    "ann",
    worker_id=f"w{CURSOR_UP}[red]",
    state=State.FAILED,
    started_at=NOW,
    webhook=f"https://example.org/{SECRET}",
    labels={"mine": SECRET},
    output=Output(value=SECRET, remote_url="https://example.org/signed"),
    failure=Failure(code=FailureCode.ENGINE_ERROR, message=f"bad{CURSOR_UP}"),
)
JOB = replace(JOB, request=replace(JOB.request, prompt=SECRET, negative_prompt=SECRET, input=SECRET))
LIFE = Life(
    job=JOB,
    trace_id="t",
    attempts=(),
    steps=(Step(at=NOW, kind="event", what="failed", words=f"[bold]bad{CURSOR_UP}", worker=JOB.worker_id),),
    files=(File("k/1.mp4", None, 5, False, True), File("k/2.mp4", "fallback", None, None, False)),
    deliveries=(),
    gaps=("openv.commands is no longer kept from that time on: its oldest records are gone",),
)


def test_what_its_user_wrote_is_shown_on_demand_and_secrets_never() -> None:
    assert SECRET not in json.dumps(job_plain(JOB))
    asked = job_plain(JOB, prompt=True)
    assert (asked["request"]["prompt"], asked["request"]["input"]) == (SECRET, SECRET)
    assert {"webhook", "labels"} & asked.keys() == set()
    assert "signed" not in json.dumps(life_plain(LIFE, prompt=True))
    assert SECRET not in json.dumps(life_plain(LIFE))
    assert asked["jobId"] == JOB.job_id


def test_a_workers_name_steers_no_terminal_and_is_no_markup() -> None:
    out = io.StringIO()
    console = Console(file=out, width=250)
    print_life(console, LIFE, prompt=False)
    print_list(console, [JOB])
    text = out.getvalue()
    assert "\x1b" not in text
    assert "w\N{REPLACEMENT CHARACTER}[2A[red]" in text
    assert "[bold]bad" in text
    assert "MISSING" in text
    assert "not known" in text
    assert "Not everything is known: openv.commands" in text
    assert printable("a\u202eb\nc\udce9d") == "a\ufffdb\ufffdc\ufffdd"
    assert printable("Zoë 東京 🎬") == "Zoë 東京 🎬"


def test_where_a_step_is_told_is_shown_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    about = {"words": "session s-1, run 1, within 1200 s " * 3, "worker": "gpu-3-0badcafe-worker-1", "attempt": 1}
    steps = (
        Step(at=NOW, kind="dead letter", what="job.submit.v1", place="openv.deadletter/11/123456", **about),
        Step(at=NOW, kind="order", what="run", place="openv.assignments/2/1234567", **about, lasted_ms=12_345),
        Step(at=NOW, kind="delivery", what="webhook", id="9e" * 16, **about),
    )
    out = io.StringIO()
    print_life(
        Console(file=out, width=80, force_terminal=True, color_system=None), replace(LIFE, steps=steps), prompt=False
    )
    text = out.getvalue()
    assert "deadletter/11/123456" in text
    assert "assignments/2/1234567" in text
    assert "9e" * 10 in text
    table = text[text.index("Timeline") : text.index("Files")]
    assert max(map(len, table.splitlines())) <= 80
    assert "Left out, for want of width: attempt, worker, lasted." in capsys.readouterr().err
    assert "3 steps." in text


def test_no_id_and_no_time_in_a_steps_words_is_broken_at_80_columns() -> None:
    session, due = "b4fb139e-003f-43a7-ac0f-566da246fcc1", "2026-11-22T10:09:23.238Z"
    steps = (
        Step(at=NOW, kind="command", what="submit", words=f"from api; to be recorded by {due}", place="openv.c/3/12"),
        Step(at=NOW, kind="answer", what="applied", words=f"to {session}, version 1", place="openv.events/3/13"),
        Step(at=NOW, kind="order", what="run", words=f"session {session}, run 1, within 1200 s " * 2, attempt=1),
        Step(at=NOW, kind="dead letter", what="deadletters.redrive begun", worker=session, lasted_ms=12_345),
    )
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    print_life(console, replace(LIFE, steps=steps, gaps=()), prompt=False)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert [sum(line.count(one) for line in lines) for one in (session, due, "events/3/13")] == [3, 1, 1]
    assert f"  words: to {session}, version 1" in lines


def test_a_file_is_said_to_be_part_of_the_job_or_why_not() -> None:
    out = io.StringIO()
    print_life(Console(file=out, width=250), LIFE, prompt=False)
    table = out.getvalue().partition("Files\n")[2].splitlines()
    assert table[0].endswith("part of the job")
    assert table[1].split()[-1] == "yes"
    assert table[2].endswith("no: left by an attempt that did not count")


async def test_where_no_job_matches_it_is_said_and_a_pipe_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = MemoryDatabase()

    @asynccontextmanager
    async def at_hand(*_: object) -> AsyncIterator[Desk]:
        yield Desk(MemoryEventLog(), database)

    monkeypatch.setattr(commands, "open_desk", at_hand)
    console = Console()
    listed = partial(commands.list_jobs, Path("nowhere"), Sought(user="ann"), 50, None, console, as_json=False)
    assert await listed() == 0
    assert capsys.readouterr() == ("", "No jobs match.\n")
    await database.jobs.store_job(JOB, 0)
    await listed()
    out, err = capsys.readouterr()
    assert JOB.job_id in out
    assert "match" not in err


def test_filters_are_read_as_they_are_written() -> None:
    assert sought_of(None, (), None, None, None, None, NOW).is_all
    found = sought_of("ann", ("failed", "timed_out"), "p", "e", "out_of_memory", "2h", NOW)
    states = (State.FAILED, State.TIMED_OUT)
    assert found == Sought("ann", states, "p", "e", FailureCode.OUT_OF_MEMORY, NOW - 7_200_000)
    for wrong in ({"states": ("lost",)}, {"code": "bad"}, {"since": "soon"}):
        given = {"user": None, "states": (), "pool": None, "endpoint": None, "code": None, "since": None} | wrong
        with pytest.raises(StackError):
            sought_of(**given, now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("requeue",), "Say which jobs"),
        (("kill", "j-1", "--user", "ann"), "Say either ids or a filter"),
        (("list", "--state", "lost"), "There is no state lost"),
        (("delete", "-", "--execute"), "Say --yes"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_server_is_asked(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["jobs", *words, "--data-dir", "nowhere"], input="j-1\n")
    assert result.exit_code in (1, 2)
    assert said in result.output
