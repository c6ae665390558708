"""The ``openv backup, restore and rebuild`` commands."""

import typer

recovery_app = typer.Typer(help="Back up MongoDB, restore it, bring it up to date.", no_args_is_help=True)
