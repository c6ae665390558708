"""The ``openv deadletters`` commands."""

import typer

deadletters_app = typer.Typer(help="What could not be processed: look, redrive, edit, discard.", no_args_is_help=True)
