"""The ``openv replay`` commands."""

import typer

replay_app = typer.Typer(help="Write records of a topic again: a dry run first.", no_args_is_help=True)
