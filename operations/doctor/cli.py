"""The ``openv doctor`` commands."""

import typer

doctor_app = typer.Typer(help="Look at everything OpenV depends on.", no_args_is_help=True)
