"""How every command of ``openv`` runs: to its end, and what goes wrong in one sentence on stderr."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from operations.entry import INTERRUPTED
from operations.stack.errors import StackError

DataDirOption = Annotated[
    Path,
    typer.Option(
        "--data-dir", envvar="OPENV_DATA_DIR", readable=False, help="The local stack's folder, as `openv up` was told."
    ),
]
DEFAULT_DATA_DIR = Path(".openv")

_NAMED_BY = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "mongodb": "MONGODB_URI",
    "s3": "S3_ENDPOINT_URL",
    "s3_fallback": "S3_FALLBACK_ENDPOINT_URL",
}


_LOCALLY = "Of a stack of `openv up`, `openv status` tells."


def run(work: Coroutine[Any, Any, int | None]) -> None:
    """Run to the end; what a person can mend is one sentence on stderr and exit code 1, an interrupt is 130."""
    import structlog

    from operations.client import RefusedError
    from operations.core.damage import sentence
    from operations.core.printable import printable
    from repo import logs
    from repo.core.documents import DamagedDocumentError
    from repo.environment import SettingsError
    from repo.ports import OtherDatabase, Unavailable
    from repo.topic_admin import TopicError

    if not structlog.is_configured():
        logs.at_a_terminal()
    try:
        code = asyncio.run(work)
    except OtherDatabase as error:
        typer.echo(f"openv: {error}.", err=True)
        raise typer.Exit(1) from None
    except Unavailable as error:
        typer.echo(f"openv: {error}. Does it run, and does {_NAMED_BY[error.server]} name it? {_LOCALLY}", err=True)
        raise typer.Exit(1) from None
    except DamagedDocumentError as error:
        typer.echo(printable(f"openv: {sentence(error)}"), err=True)
        raise typer.Exit(1) from None
    except (StackError, RefusedError, SettingsError, TopicError) as error:
        typer.echo(f"openv: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if code:
        raise typer.Exit(code)


async def ended_by_sigterm(work: Coroutine[Any, Any, None]) -> int:
    """Let SIGTERM cancel the work, as Ctrl-C does, so that it can clean up. The exit code: 0, or 143 after SIGTERM."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def end() -> None:
        asked.set()
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        await task
    except asyncio.CancelledError:
        if asked.is_set():
            return 128 + signal.SIGTERM
        raise
    return 0


def agreed(words: str) -> bool:
    """Ask, on stderr: stdout is for answers. Where nobody can answer, it is said how to do without."""
    typer.echo(f"{words} [y/N]: ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        typer.echo("\nopenv: nobody answered. Where nobody can be asked, say --yes.", err=True)
    return answer.strip().lower() in ("y", "yes")


def require_agreement(words: str) -> None:
    """Ask, and end the command (exit code 1) unless the answer is yes."""
    if not agreed(words):
        typer.echo("openv: nothing was done.", err=True)
        raise typer.Exit(1)
