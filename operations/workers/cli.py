"""The ``openv workers`` commands."""

import typer

workers_app = typer.Typer(help="Workers: who renders what; drain one.", no_args_is_help=True)
