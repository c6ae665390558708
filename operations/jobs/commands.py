"""What the ``openv jobs`` commands do at a terminal: open a desk, do the work, print it."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from operations.audit.recording import READ_JOB, at_the_terminal, reading_words
from operations.core.columns import Column
from operations.core.job_acts import Verb, standing
from operations.core.printable import printable
from operations.desk import NOT_DECIDED
from operations.desk import desk as open_desk
from operations.jobs.acts import Asked
from operations.jobs.bulk import Came, Chosen, named_jobs, on_each, sought_jobs
from operations.jobs.following import follow
from operations.jobs.life import life_of, stored_job
from operations.jobs.listing import Sought, page
from operations.jobs.views import act_plain, job_plain, life_plain, print_life, print_list
from operations.stack.errors import StackError
from operations.tables import note, print_rows
from repo.s3 import open_stores
from repo.settings import FallbackSettings, ServerSettings
from schemas.instants import to_iso

STDIN = "-"
ALL_DONE, NOT_DONE = 0, 1
_CHOSEN = (Column("job"), Column("user", 2), Column("state", 1), Column("what would be done", folds=20))
_HEAD = ("job", "user")  # how what `openv jobs list` prints begins


@dataclass(frozen=True, slots=True)
class Wish:
    """``job_ids``: those named, ``-`` for standard input; without any those that are ``sought``, ``most`` of them."""

    verb: Verb
    job_ids: tuple[str, ...]
    sought: Sought
    most: int
    asked: Asked
    execute: bool


async def list_jobs(
    data_dir: Path, sought: Sought, limit: int, after: str | None, console: Console, *, as_json: bool
) -> int:
    """A page of jobs."""
    async with open_desk(data_dir) as desk:
        found = await page(desk, sought, limit=limit, after=after)
    if as_json:
        typer.echo(json.dumps({"jobs": [job_plain(job) for job in found.jobs], "after": found.after}, indent=2))
        return ALL_DONE
    print_list(console, found.jobs)
    if found.after is not None:
        note(f"There are more: --after {found.after}")
    return ALL_DONE


async def show_job(data_dir: Path, job_id: str, records: int, console: Console, *, prompt: bool, as_json: bool) -> int:
    """A job's whole life. With ``prompt`` it is recorded before it is shown."""
    async with open_desk(data_dir) as desk, open_stores(ServerSettings(), FallbackSettings()) as stores:
        await stored_job(desk, job_id)
        async with reading_words(desk.log, at_the_terminal(), READ_JOB, job_id, shown=prompt):
            life = await life_of(desk, stores, job_id, most=records)
    if as_json:
        typer.echo(json.dumps(life_plain(life, prompt=prompt), indent=2))
    else:
        print_life(console, life, prompt=prompt)
    return ALL_DONE


async def tail_jobs(data_dir: Path, sought: Sought, job_id: str | None, *, as_json: bool) -> int:
    """A line a change, until it is interrupted."""
    async with open_desk(data_dir) as desk:
        async for at, job in follow(desk, sought, job_id):
            line = (
                json.dumps(job_plain(job))
                if as_json
                else printable(f"{to_iso(at)} {job.job_id} {job.user_id}: {standing(job)}")
            )
            typer.echo(line)
    return ALL_DONE


async def act_on_jobs(data_dir: Path, wish: Wish, console: Console, *, as_json: bool) -> int:
    """Do it to the jobs named; to those read from standard input or found only with ``execute``. The exit code."""
    ids = _read_ids(sys.stdin) if wish.job_ids == (STDIN,) else wish.job_ids
    if not wish.job_ids and wish.sought.is_all:
        raise StackError("Say which jobs: their ids, - for ids on standard input, or a filter (--user, --state …).")
    if wish.job_ids and not wish.sought.is_all:
        raise StackError("Say either ids or a filter.")
    at_once = bool(wish.job_ids) and wish.job_ids != (STDIN,)
    async with open_desk(data_dir) as desk:
        if wish.job_ids:
            chosen = await named_jobs(desk, wish.verb, ids)
        else:
            chosen = await sought_jobs(desk, wish.verb, wish.sought, wish.most)
        if not (at_once or wish.execute):
            _show_chosen(console, wish, chosen, as_json=as_json)
            return ALL_DONE
        every = [one.job_id for one in chosen if at_once or one.does]
        came = [
            one async for one in _told(on_each(desk, at_the_terminal(), wish.verb, every, wish.asked), as_json=as_json)
        ]
    if as_json:
        typer.echo(json.dumps([_came_plain(one) for one in came], indent=2))
    elif not at_once:
        done = sum(1 for one in came if one.act is not None and one.act.done)
        note(f"{done} of {len(chosen)}: done.")
    return _code(came)


async def _told(came: AsyncIterator[Came], *, as_json: bool) -> AsyncIterator[Came]:
    async for one in came:
        if not as_json:
            typer.echo(printable(f"{one.job_id}: {one.words}"), err=one.act is None or not one.act.done)
        yield one


def _code(came: Sequence[Came]) -> int:
    if any(one.act is None or (one.act.decided and not one.act.done) for one in came):
        return NOT_DONE
    return ALL_DONE if all(one.act is not None and one.act.done for one in came) else NOT_DECIDED


def _show_chosen(console: Console, wish: Wish, chosen: Sequence[Chosen], *, as_json: bool) -> None:
    cut = not wish.job_ids and len(chosen) == wish.most
    if as_json:
        rows = [{"jobId": one.job_id, "does": one.does, "words": one.words} for one in chosen]
        typer.echo(json.dumps({"dryRun": True, "jobs": rows, "cut": cut}, indent=2))
        return
    jobs = [(one, (one.job.user_id, one.job.state) if one.job else ("", "")) for one in chosen]
    print_rows(console, _CHOSEN, [(one.job_id, *about, one.words) for one, about in jobs], none="No jobs match.")
    does = sum(1 for one in chosen if one.does)
    note(f"{does} of {len(chosen)} would be changed. Nothing was: say --execute to {wish.verb} them.")
    if cut:
        note(f"These are the newest {wish.most}; there may be more (--most).")


def _came_plain(one: Came) -> dict[str, object]:
    return {"jobId": one.job_id, "words": one.words} | (act_plain(one.act) if one.act is not None else {"done": False})


def _read_ids(lines: Iterable[str]) -> tuple[str, ...]:
    """The first word of each line, so that what other programs print can be piped in: `openv jobs list` too."""
    found = (words for line in lines if (words := line.split()))
    return tuple(words[0] for words in found if tuple(words[: len(_HEAD)]) != _HEAD)
