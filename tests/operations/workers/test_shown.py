"""Workers as they are shown: one with all that is known of it, and where none is there what is true of them."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from operations.core.roster import Heard
from operations.desk import Desk
from operations.workers import commands, views
from operations.workers.roster import Workers
from repo.memory import MemoryDatabase, MemoryEventLog
from schemas.dispatch import WorkerKind, WorkerState
from tests.repo.jobs import NOW, a_job

SESSION = "b4fb139e-003f-43a7-ac0f-566da246fcc1"
JOB = a_job("ann", attempt=2)
WORKER = Heard(
    pool="mochi-1", worker_id="host-0badcafe-worker-1", session=SESSION, kind=WorkerKind.NATIVE,
    state=WorkerState.BUSY, heard_at=NOW - 3_000, since=NOW - 40_000, engine="mochi",
    device="NVIDIA H100 80GB HBM3 with a name that goes on and on", job_id=JOB.job_id, attempt=2,
)  # fmt: skip


def test_one_worker_is_shown_whole_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    views.print_worker(console, WORKER, JOB, NOW)
    text = out.getvalue()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert capsys.readouterr().err == "", "nothing is left out"
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names == ["worker", "pool", "state", "job", "heard", "kind", "engine", "device", "session"]
    assert all(one in text for one in (SESSION, JOB.job_id, "attempt 2", "of ann", "busy, since", "(40s ago)"))
    assert WORKER.device in text


def test_what_is_not_known_of_a_worker_has_no_line() -> None:
    out = io.StringIO()
    quiet = replace(WORKER, device="", engine="", job_id=None, attempt=None, silent=True)
    views.print_worker(Console(file=out, width=80), quiet, None, NOW)
    text = out.getvalue()
    assert "device" not in text
    assert "SILENT (said busy)" in text
    assert [line.split() for line in text.splitlines() if line.startswith("job")] == [["job", "none"]]


async def test_those_that_have_left_are_not_said_to_be_unheard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: tuple[Heard, ...] = ()

    @asynccontextmanager
    async def at_hand(*_: object) -> AsyncIterator[Desk]:
        yield Desk(MemoryEventLog(), MemoryDatabase())

    async def found(*_: object, **__: object) -> Workers:
        return Workers(heard, NOW, None)

    monkeypatch.setattr(commands, "open_desk", at_hand)
    monkeypatch.setattr(commands, "workers", found)
    listed = partial(commands.list_workers, Path("nowhere"), None, Console(), as_json=False)
    await listed(everyone=False)
    assert capsys.readouterr() == ("", "No workers were heard in the last two minutes.\n")
    left = replace(WORKER, gone=True)
    heard = (left,)
    await listed(everyone=False)
    said = "1 worker was heard in the last two minutes, and it has left: --all shows it.\n"
    assert capsys.readouterr() == ("", said)
    heard = (left, replace(left, worker_id="other"))
    await listed(everyone=False)
    said = "2 workers were heard in the last two minutes, and all have left: --all shows them.\n"
    assert capsys.readouterr() == ("", said)
    await listed(everyone=True)
    assert left.worker_id in capsys.readouterr().out
