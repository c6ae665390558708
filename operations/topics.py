"""``openv topics``: make Kafka's topics as the table in ``schemas/topics.py`` says, or show them; make one of an
operator's own, for a replay to go to."""

import json
from pathlib import Path

import typer
from rich.console import Console

from operations.core.columns import Column
from operations.core.counting import several
from operations.core.replay_names import why_no_name
from operations.local import server_environment
from operations.stack.errors import StackError
from operations.tables import print_rows
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from schemas.topics import DAY, Topic

_TOPICS = (
    Column("topic"),
    Column("partitions", 2, right=True),
    Column("kept", 3, folds=14),
    Column("differs", 1, folds=24),
)


async def apply(data_dir: Path, console: Console) -> int:
    """Returns the exit code: 0. Raises what the broker refuses, as one sentence."""
    server_environment(data_dir)
    async with TopicAdmin(ServerSettings()) as admin:
        for line in await admin.apply():
            console.print(line, highlight=False, soft_wrap=True)
    return 0


async def create(data_dir: Path, console: Console, name: str, partitions: int, keep_days: int) -> int:
    """Make a topic that is not of the table. Returns the exit code: 0. Raises ``StackError`` for a name that can't be
    had and for a topic that is there, and what the broker refuses, as one sentence."""
    if (refused := why_no_name(name)) is not None:
        raise StackError(refused)
    table = {name: Topic(name, partitions, keep_days * DAY, ())}
    server_environment(data_dir)
    async with TopicAdmin(ServerSettings()) as admin:
        (is_,) = await admin.describe(table)
        if is_.partitions is not None:
            raise StackError(f"There is a topic {name} already, of {several(is_.partitions, 'partition')}.")
        await admin.apply(table)
    told = f"{name}: made, {several(partitions, 'partition')}, kept {several(keep_days, 'day')}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    return 0


async def describe(data_dir: Path, console: Console, *, as_json: bool = False) -> int:
    """Returns the exit code: 3 where a topic is missing or differs from the table."""
    server_environment(data_dir)
    async with TopicAdmin(ServerSettings()) as admin:
        rows = await admin.describe()
    if as_json:
        shown = [
            {"topic": row.name, "partitions": row.partitions, "kept": row.kept, "differs": list(row.differs)}
            for row in rows
        ]
        typer.echo(json.dumps(shown, indent=2))
    else:
        cells = [(row.name, str(row.partitions or "–"), row.kept, "; ".join(row.differs)) for row in rows]
        print_rows(console, _TOPICS, cells)
    return 3 if any(row.differs for row in rows) else 0
