"""How every command of ``openv`` runs: to its end, and what goes wrong in one sentence on stderr."""

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from operations.stack.errors import StackError

DataDirOption = Annotated[
    Path,
    typer.Option("--data-dir", envvar="OPENV_DATA_DIR", readable=False, help="Where the local stack keeps its data."),
]
DEFAULT_DATA_DIR = Path(".openv")

_NAMED_BY = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "mongodb": "MONGODB_URI",
    "s3": "S3_ENDPOINT_URL",
    "s3_fallback": "S3_FALLBACK_ENDPOINT_URL",
}


def run(work: Coroutine[Any, Any, int | None]) -> None:
    """Run to the end; what a person can mend is one sentence on stderr and exit code 1, an interrupt is 130."""
    import structlog

    from operations.client import RefusedError
    from repo.environment import SettingsError
    from repo.ports import OtherDatabase, Unavailable
    from repo.topic_admin import TopicError

    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))  # stdout is for answers
    try:
        code = asyncio.run(work)
    except OtherDatabase as error:
        typer.echo(f"openv: {error}.", err=True)
        raise typer.Exit(1) from None
    except Unavailable as error:
        typer.echo(f"openv: {error}. Does it run, and does {_NAMED_BY[error.server]} name it?", err=True)
        raise typer.Exit(1) from None
    except (StackError, RefusedError, SettingsError, TopicError) as error:
        typer.echo(f"openv: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if code:
        raise typer.Exit(code)
