"""The ``openv jobs`` commands."""

import typer

jobs_app = typer.Typer(help="Jobs: their whole life; requeue, kill an attempt, cancel, delete.", no_args_is_help=True)
