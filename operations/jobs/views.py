"""How jobs are shown: tables for people, plain data for programs (the admin API's bodies too). Prompts on demand."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from operations.core.attempts import Attempt
from operations.core.columns import Column
from operations.core.counting import several
from operations.core.timeline import Step
from operations.jobs.acts import Act
from operations.jobs.life import File, Life
from operations.tables import Brief, Cell, print_about, print_line, print_rows, when
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.shape import to_plain

_WORDS = ("prompt", "negativePrompt", "input")  # of a request: what its user wrote


def job_plain(job: Job, *, prompt: bool = False) -> dict[str, Any]:
    """The document, without what its user wrote unless asked for; never its webhook's address, where a foreign service
    keeps the video, or a worker's own word."""
    plain = to_plain(job)
    for name in ("webhook", "labels"):
        plain.pop(name, None)
    for name in ("value", "remoteUrl"):
        plain.get("output", {}).pop(name, None)
    if not prompt:
        plain["request"] = {name: value for name, value in plain["request"].items() if name not in _WORDS}
    return plain


def act_plain(came: Act) -> dict[str, Any]:
    """What came of an act."""
    return {"done": came.done, "decided": came.decided, "words": came.words, "job": job_plain(came.job)}


def life_plain(life: Life, *, prompt: bool = False) -> dict[str, Any]:
    """A job's whole life."""
    return {
        "job": job_plain(life.job, prompt=prompt),
        "traceId": life.trace_id,
        "attempts": [_attempt_plain(one) for one in life.attempts],
        "timeline": [step_plain(one) for one in life.steps],
        "files": [_file_plain(one) for one in life.files],
        "deliveries": [_delivery_plain(one) for one in life.deliveries],
        "gaps": list(life.gaps),
    }


def step_plain(step: Step) -> dict[str, Any]:
    """One step; what is not known is left out."""
    return _given(
        at=to_iso(step.at),
        kind=step.kind,
        what=step.what,
        words=step.words or None,
        id=step.id,
        place=step.place,
        attempt=step.attempt,
        worker=step.worker,
        lastedMs=step.lasted_ms,
        traceId=step.trace_id,
        replay=step.replay,
    )


def _attempt_plain(one: Attempt) -> dict[str, Any]:
    return _given(
        attempt=one.attempt,
        worker=one.worker,
        end=one.end,
        code=one.code,
        startedAt=_iso(one.started_at),
        endedAt=_iso(one.ended_at),
        lastedMs=one.lasted_ms,
    )


def _file_plain(one: File) -> dict[str, Any]:
    return _given(key=one.key, store=one.store or "main", bytes=one.bytes, present=one.present, named=one.named)


def _delivery_plain(one: Any) -> dict[str, Any]:
    plain = to_plain(one)
    return {name: value for name, value in plain.items() if name not in ("body", "url")}


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _iso(at: int | None) -> str | None:
    return None if at is None else to_iso(at)


_JOBS = (
    Column("job"),
    Column("user", 2),
    Column("state"),
    Column("code", 1),
    Column("created", 3),
    Column("attempt", 5, right=True),
    Column("tries", 4, right=True),
    Column("worker", 8),
    Column("pool", 6),
    Column("endpoint", 7),
)
_ATTEMPTS = (
    Column("attempt", right=True),
    Column("worker", 1),
    Column("ended"),
    Column("code", 1),
    Column("started", 3),
    Column("lasted", 2, right=True),
)
_STEPS = (
    Column("time"),
    Column("kind"),
    Column("what", folds=12),
    Column("attempt", 4, right=True),
    Column("worker", 5),
    Column("lasted", 3, right=True),
    Column("words", 2, folds=30, below=True),
    Column("where", 1, folds=21, below=True),  # records' places are shorter, but for very long logs
)
_FILES = (
    Column("file"),
    Column("store", 2),
    Column("bytes", 1, right=True),
    Column("there"),
    Column("part of the job", 3, folds=15),
)
PREFIX = "openv."  # of our topics
_CLOCK = slice(11, 23)  # of ISO 8601: the time of day


def print_list(console: Console, jobs: Sequence[Job]) -> None:
    """A row a job."""
    rows = []
    for job in jobs:
        shown = (job.job_id, job.user_id, job.state, job.failure.code if job.failure else "", when(job.created_at))
        counted = (str(job.attempt), f"{job.tries}/{job.max_retries + 1}")
        rows.append((*shown, *counted, job.worker_id or "", job.pool, job.endpoint or ""))
    print_rows(console, _JOBS, rows, none="No jobs match.")


def print_life(console: Console, life: Life, *, prompt: bool) -> None:
    """Everything, the newest last."""
    print_about(console, _head(life, prompt=prompt))
    if life.attempts:
        print_rows(console, _ATTEMPTS, [_attempt_row(one) for one in life.attempts], "Attempts")
    print_rows(console, _STEPS, [_step_row(one) for one in life.steps], "Timeline")
    if life.files:
        print_rows(console, _FILES, [_file_row(one) for one in life.files], "Files")
    for gap in life.gaps:
        print_line(console, f"Not everything is known: {gap}.")
    print_line(console, f"{life.job.job_id}: {several(len(life.steps), 'step')}.")


def _attempt_row(one: Attempt) -> tuple[Cell, ...]:
    began = "" if one.started_at is None else _clock(one.started_at)
    return str(one.attempt), one.worker, one.end, one.code or "", began, seconds(one.lasted_ms)


def _step_row(step: Step) -> tuple[Cell, ...]:
    words = f"{step.words}{f' [replay {step.replay}]' if step.replay else ''}"
    about = (str(step.attempt or ""), step.worker or "", seconds(step.lasted_ms), words)
    return _clock(step.at), step.kind, step.what, *about, _where(step)


def _where(step: Step) -> Cell:
    if step.place is None:
        return step.id or ""
    return Brief(step.place, step.place.removeprefix(PREFIX))


def _file_row(file: File) -> tuple[Cell, ...]:
    there = {True: "present", False: "MISSING", None: "not known"}[file.present]
    part = "yes" if file.named else "no: left by an attempt that did not count"
    return file.key, file.store or "main", str(file.bytes or ""), there, part


def _clock(at: int) -> Brief:
    """Of one job: its days are seldom several, and the head has the first."""
    whole = to_iso(at)
    return Brief(whole, whole[_CLOCK])


def _head(life: Life, *, prompt: bool) -> dict[str, str]:
    job, request = life.job, life.job.request
    rows = {
        "job": job.job_id,
        "user": job.user_id,
        "state": f"{job.state}, version {job.version}, run {job.run}, attempt {job.attempt}",
        "pool": f"{job.pool}{f', endpoint {job.endpoint}' if job.endpoint else ''}, from {job.origin}",
        "created": to_iso(job.created_at),
        "charge": f"{job.charge.seconds:g} s and {job.charge.credits:g} credits {job.charge.state}",
        "trace": life.trace_id,
    }
    if job.failure is not None:
        rows["failure"] = f"{job.failure.code}: {job.failure.message}"
    if prompt:
        rows["prompt"] = request.prompt
    return rows


def seconds(ms: int | None) -> str:
    """A duration for people."""
    return "" if ms is None else f"{ms / 1000:.3f} s"
