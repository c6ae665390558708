"""The ``openv topics`` commands; the work is in ``topics.py``."""

from typing import Annotated

import typer
from rich.console import Console

from operations.running import DEFAULT_DATA_DIR, DataDirOption, run

topics_app = typer.Typer(
    help="Kafka topics: make them as the table says, show them, or make one of your own.", no_args_is_help=True
)


@topics_app.command("apply")
def topics_apply(data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Make the topics that are missing and set what differs from the table. Never changes a partition count.

    Example: `KAFKA_BOOTSTRAP_SERVERS=kafka:9092 openv topics apply`
    """
    from operations.topics import apply

    run(apply(data_dir, Console()))


@topics_app.command("create")
def topics_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called: letters, digits, dots, hyphens.")],
    partitions: Annotated[int, typer.Option(min=1, max=1_000, help="In how many partitions.")] = 3,
    keep_days: Annotated[int, typer.Option(min=1, max=36_500, help="For how many days records are kept.")] = 7,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make a topic of your own, for a replay to write to. OpenV's own topics are made by `openv topics apply`.

    Example: `openv topics create their.topic --partitions 3 --keep-days 2`
    """
    from operations.topics import create

    run(create(data_dir, Console(), name, partitions, keep_days))


@topics_app.command("acls")
def topics_acls(
    principal_prefix: Annotated[
        str, typer.Option(help="What the parts' names at Kafka begin with: User:<prefix>gateway …")
    ] = "openv-",
    server: Annotated[str, typer.Option(help="Kafka, as the commands reach it.")] = "localhost:9092",
    command_config: Annotated[
        str, typer.Option(help="The file with which kafka-acls.sh logs in as one who may grant rights.")
    ] = "admin.properties",
) -> None:
    """Print the commands that give each part the least rights at Kafka that it needs. Nothing is changed.

    Example: `openv topics acls --server kafka:9093 | sh`
    """
    from operations.core.acls import commands

    for line in commands(principal_prefix, server, command_config):
        typer.echo(line)


@topics_app.command("describe")
def topics_describe(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show every topic as it is, and what differs from the table (exit code 3 then).

    Example: `openv topics describe`
    """
    from operations.topics import describe

    run(describe(data_dir, Console(), as_json=as_json))
