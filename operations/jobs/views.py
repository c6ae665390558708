"""How jobs are shown: tables for people, plain data for programs (the admin API's bodies too). Prompts on demand."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.core.attempts import Attempt
from operations.core.printable import printable
from operations.core.timeline import Step
from operations.jobs.acts import Act
from operations.jobs.life import File, Life
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.shape import to_plain

WIDE = 200
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


def print_list(console: Console, jobs: Sequence[Job]) -> None:
    """A row a job."""
    table = Table("job", "user", "state", "pool", "endpoint", "created", "attempt", "tries", "worker", "code")
    for job in jobs:
        table.add_row(
            *map(cell, (job.job_id, job.user_id, job.state, job.pool, job.endpoint or "", to_iso(job.created_at))),
            str(job.attempt),
            f"{job.tries}/{job.max_retries + 1}",
            cell(job.worker_id or ""),
            job.failure.code if job.failure else "",
        )
    widened(console).print(table)


def print_life(console: Console, life: Life, *, prompt: bool) -> None:
    """Everything, the newest last."""
    widened(console)
    job = life.job
    head = Table(show_header=False)
    for name, value in _head(life, prompt=prompt).items():
        head.add_row(name, cell(value))
    console.print(head)
    if life.attempts:
        attempts = Table("attempt", "worker", "ended", "code", "started", "lasted", title="Attempts")
        for one in life.attempts:
            lasted, began = seconds(one.lasted_ms), _iso(one.started_at) or ""
            attempts.add_row(str(one.attempt), cell(one.worker), one.end, one.code or "", began, lasted)
        console.print(attempts)
    steps = Table("time", "kind", "what", "attempt", "worker", "lasted", "words", "where", title="Timeline")
    for step in life.steps:
        words = f"{step.words}{f' [replay {step.replay}]' if step.replay else ''}"
        steps.add_row(
            to_iso(step.at),
            step.kind,
            cell(step.what),
            str(step.attempt or ""),
            cell(step.worker or ""),
            seconds(step.lasted_ms),
            cell(words),
            step.place or step.id or "",
        )
    console.print(steps)
    if life.files:
        files = Table("file", "store", "bytes", "there", "of the job", title="Files")
        for file in life.files:
            there = {True: "present", False: "MISSING", None: "not known"}[file.present]
            named = "named" if file.named else "not named: of an attempt that did not count"
            files.add_row(cell(file.key), file.store or "main", str(file.bytes or ""), there, named)
        console.print(files)
    for gap in life.gaps:
        console.print(cell(f"Not everything is known: {gap}."))
    console.print(cell(f"{job.job_id}: {len(life.steps)} steps."))


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


def cell(text: str) -> Text:
    """As it is, not as markup, and without what steers a terminal."""
    return Text(printable(text))


def widened(console: Console) -> Console:
    """What reads it gets names and times whole, not cut to 80 columns."""
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    return console
