"""What the ``openv replay`` and ``openv replays`` commands do; the options are in ``cli.py``."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import typer
from rich.console import Console

from operations.audit.recording import at_the_terminal, audited
from operations.core.counting import several
from operations.core.printable import printable
from operations.core.replay_names import NotAllowed
from operations.core.replay_scope import Asked, BadScope
from operations.replay import views
from operations.replay.bound import plan_of
from operations.replay.dry_run import DryRun
from operations.replay.dry_run import plan as dry_run
from operations.replay.execute import Ended, execute
from operations.replay.pace import Wishes
from operations.replay.room import Room, room
from operations.replay.tenure import cancel as end_for_good
from operations.replay.tenure import found
from operations.replay.tenure import pause as hold
from operations.running import agreed
from operations.stack.errors import StackError
from operations.tables import note
from schemas.replay_plans import Checkpoint, ReplayPlan, ReplayState
from schemas.topics import DEADLETTER

WAITS = 3  # exit code: it is not over, and goes on when it is told to


async def plan(data_dir: Path, asked: Asked, console: Console, *, rehearse: bool, as_json: bool) -> int:
    """The dry run."""
    async with room(data_dir) as at:
        with views.Follow(as_json=as_json) as tell, _in_words():
            made = await dry_run(at, DryRun(asked, rehearse), tell)
    if as_json:
        _print(views.plain(made))
    else:
        views.show(made, console)
        note(views.next_step(made))
    return 0


async def carry_out(
    data_dir: Path, replay_id: str | None, asked: Asked | None, wishes: Wishes, *, as_json: bool
) -> int:
    """Execute by id, or by the words of the dry run; on a terminal a canary asks whether to go on."""
    async with room(data_dir) as at, stopping(wishes):
        with _in_words():
            if replay_id is None:
                assert asked is not None  # noqa: S101 -- the command line sees to it
                replay_id = await plan_of(at, asked)
            ended = await _one_run(at, replay_id, asked, wishes, as_json=as_json)
            if ended.plan.state is ReplayState.CANARY and not as_json and sys.stdin.isatty():
                typer.echo(told(ended))
                if await asyncio.to_thread(agreed, "Write the rest?"):
                    ended = await _one_run(at, replay_id, asked, replace(wishes, canary=None), as_json=as_json)
    if as_json:
        _print({**views.plain(ended.plan), "cameBack": ended.came_back})
    else:
        typer.echo(told(ended))
    return 0 if ended.plan.state is ReplayState.DONE else WAITS


async def _one_run(at: Room, replay_id: str, asked: Asked | None, wishes: Wishes, *, as_json: bool) -> Ended:
    with views.Follow(as_json=as_json) as tell, _in_words():
        return await execute(at, replay_id, asked, at_the_terminal(), wishes, tell)


def told(ended: Ended) -> str:
    """How it ended, on one line."""
    plan, done = ended.plan, ended.plan.checkpoint
    about = "at least " if plan.lease is not None else ""
    written = f"{about}{done.written:,} of {plan.in_scope - plan.quarantine:,} written" if done else "nothing written"
    if done and plan.quarantine:
        written += f", {done.quarantined:,} of {plan.quarantine:,} to the quarantine"
    came = "a dead letter" if ended.came_back == 1 else "dead letters"
    back = f" {ended.came_back:,} of them came back as {came}." if ended.came_back else ""
    if plan.state is ReplayState.DONE:
        return f"Done: {written}.{_left_since(plan)}{back}"
    return printable(
        f"{plan.reason[:1].upper()}{plan.reason[1:]}: {written}.{back} `openv replay {plan.replay_id} --continue` goes "
        f"on, `openv replays cancel {plan.replay_id}` ends it."
    )


def _left_since(plan: ReplayPlan) -> str:
    """In words, of dead letters: all but these are where they belong."""
    done = plan.checkpoint or Checkpoint()
    left = plan.in_scope - done.written - done.quarantined
    if plan.source != DEADLETTER.name or plan.chosen is not None or left <= 0:
        return ""
    was, stays = ("was", "stays as it is") if left == 1 else ("were", "stay as they are")
    return f" {several(left, 'letter')} {was} discarded, edited or redriven since the dry run, and {stays}."


async def listed(data_dir: Path, console: Console, limit: int, *, as_json: bool) -> None:
    """All replays, the newest first."""
    async with room(data_dir) as at:
        plans = await at.database.replays.replays(limit)
    if as_json:
        _print([views.plain(one) for one in plans])
    else:
        views.show_all(plans, console)


async def show(data_dir: Path, replay_id: str, console: Console, *, as_json: bool) -> None:
    """One of them."""
    async with room(data_dir) as at:
        plan = await found(at.database.replays, replay_id)
    if as_json:
        _print(views.plain(plan))
    else:
        views.show(plan, console)


async def pause(data_dir: Path, replay_id: str) -> None:
    """Stop one that runs, whichever process executes it."""
    async with room(data_dir) as at:
        await found(at.database.replays, replay_id)
        async with audited(at.log, at_the_terminal(), "replay.pause", target=replay_id) as audit:
            plan = await hold(at.database.replays, replay_id)
            written = plan.checkpoint.written if plan.checkpoint else 0
            audit.detail["written"] = str(written)
    typer.echo(
        f"{replay_id} stops, with at least {several(written, 'record')} written. `openv replay {replay_id} --continue` "
        "goes on."
    )


async def cancel(data_dir: Path, replay_id: str) -> None:
    """End it for good."""
    async with room(data_dir) as at:
        await found(at.database.replays, replay_id)
        async with audited(at.log, at_the_terminal(), "replay.cancel", target=replay_id) as audit:
            plan = await end_for_good(at.database.replays, replay_id)
            written = plan.checkpoint.written if plan.checkpoint else 0
            audit.detail["written"] = str(written)
    typer.echo(f"{replay_id} is cancelled. What it has written stays: {several(written, 'record')}.")


def _print(data: object) -> None:
    typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())


class _in_words:  # noqa: N801 -- reads as a sentence where it is used
    """What a person has said that makes no sense is one sentence."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, NotAllowed | BadScope):
            raise StackError(printable(str(error))) from None


@asynccontextmanager
async def stopping(wishes: Wishes) -> AsyncIterator[None]:
    """Ctrl-C and SIGTERM pause the replay where it is; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if wishes.stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        wishes.stop.set()

    try:
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, stop, one)
    except (RuntimeError, ValueError):  # not the main thread: whoever runs us there has handlers of their own
        pass
    yield
