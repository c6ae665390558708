"""``openv generate``: one prompt in, one video file out, with a live progress bar."""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from operations.client import OpenVClient, RefusedError
from operations.tables import is_plain
from schemas.requests import SIZE_STEP

PHASES = {
    "load": "loading the model",
    "encode_prompt": "reading the prompt",
    "denoise": "making the video",
    "decode": "decoding",
    "encode": "writing the MP4",
    "upload": "storing",
}


async def generate(
    client: OpenVClient,
    body: Mapping[str, Any],
    output: Path | None,
    console: Console,
    *,
    as_json: bool = False,
    cancel_on_leave: bool = True,
) -> Path:
    """Submit, watch, download. Returns the file's path; prints it, or the job's row as JSON. Raises ``RefusedError``.

    ``cancel_on_leave``: whoever interrupts the command no longer wants the video.
    """
    _require_place(output or Path.cwd() / "video.mp4")
    tell = partial(Console(stderr=True).print, highlight=False, markup=False, soft_wrap=True)
    row = await client.submit(body, tell)
    if rounded := rounded_in_words(body, row):
        tell(rounded)
    job_id = row["jobId"]
    target = output or Path.cwd() / file_name(str(body["prompt"]), job_id)
    try:
        row = await _follow(client, job_id, quiet=as_json)
    except asyncio.CancelledError:
        if cancel_on_leave:
            await client.cancel(job_id)
        raise
    if row["state"] != "completed":
        failure = row.get("failure") or {}
        raise RefusedError(0, failure.get("message") or f"The job ended as {row['state']}.")
    try:
        await client.download(row["url"], target)
    except (OSError, httpx.HTTPError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the download broke off"
        raise RefusedError(
            0,
            f"{target} could not be saved: {reason}. The video is kept; fetch it from {client.url}{row['url']} with "
            "your key.",
        ) from error
    if as_json:
        typer.echo(json.dumps(row | {"path": str(target)}, indent=2))
    else:
        console.print(f"[bold green]✓[/] {target}", soft_wrap=True, highlight=False)
    return target


def rounded_in_words(body: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What is made otherwise than it was asked for, in a sentence; "" where nothing is."""
    members = {"width": "width", "height": "height", "num_frames": "frames"}
    changed = [
        f"{member} {row[member]}, not {body[name]}"
        for name, member in members.items()
        if name in body and row.get(member) not in (None, body[name])
    ]
    if not changed:
        return ""
    return f"Made with {'; '.join(changed)}: sizes are multiples of {SIZE_STEP}, lengths 7, 13, 19 … 127 frames."


def _require_place(target: Path) -> None:
    """Raises ``RefusedError`` where the file can't be written: said before the video is made, not after."""
    if not target.parent.is_dir():
        raise RefusedError(0, f"There is no folder {target.parent}: make it first, or name another file with -o.")
    if target.is_dir():
        raise RefusedError(0, f"{target} is a folder: name a file in it with -o.")
    if not os.access(target.parent, os.W_OK):
        raise RefusedError(0, f"{target.parent} can't be written: name a file in another folder with -o.")


async def _follow(client: OpenVClient, job_id: str, *, quiet: bool) -> dict[str, Any]:
    """The job's last row, drawing the bar on the way where a person looks."""
    console = Console(stderr=True)
    row: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, transient=False, disable=quiet or is_plain(console)) as bar:
        task = bar.add_task("queued", total=1.0, note="")
        async for frame in client.watch(job_id):
            if frame["type"] == "event":
                row = frame["data"]
            _draw(bar, task, frame)
    return row


def _draw(bar: Progress, task: TaskID, frame: Mapping[str, Any]) -> None:
    """One frame onto the bar."""
    data = frame["data"]
    if frame["type"] == "progress":
        steps = f" {data['step']}/{data['steps']}" if data["steps"] > 1 else ""
        bar.update(
            task,
            completed=data["fraction"],
            description=PHASES.get(data["phase"], data["phase"]) + steps,
            note="waiting for the storage" if data.get("waitsFor") else _eta(data.get("etaMs")),
        )
    elif frame["type"] == "place":
        bar.update(task, description=f"queued, place {data['place']}", note=_eta(data.get("etaMs")))
    elif frame["type"] == "event" and data["state"] == "completed":
        bar.update(task, completed=1.0, description="done", note="")
    elif frame["type"] == "event" and data["state"] == "queued":
        again = f", attempt {data['attempt']}" if data.get("attempt", 1) > 1 else ""
        bar.update(task, completed=0.0, description=f"queued{again}", note="")
    elif frame["type"] == "event":
        bar.update(task, description=data["state"], note="")


def _eta(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"ETA {minutes}:{seconds:02d}"


def file_name(prompt: str, job_id: str) -> str:
    """A file name a person recognises: the prompt's first words and the job's first characters."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48].strip("-")
    return f"{words or 'video'}-{job_id[:8]}.mp4"
