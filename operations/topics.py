"""``openv topics``: make Kafka's topics as the table in ``schemas/topics.py`` says, or show them."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from operations.local import server_environment
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin


async def apply(data_dir: Path, console: Console) -> int:
    """Returns the exit code: 0. Raises what the broker refuses, as one sentence."""
    server_environment(data_dir)
    async with TopicAdmin(ServerSettings()) as admin:
        for line in await admin.apply():
            console.print(line, highlight=False)
    return 0


async def describe(data_dir: Path, console: Console) -> int:
    """Returns the exit code: 3 where a topic is missing or differs from the table."""
    server_environment(data_dir)
    async with TopicAdmin(ServerSettings()) as admin:
        rows = await admin.describe()
    table = Table("topic", "partitions", "kept", "differs")
    for row in rows:
        table.add_row(row.name, str(row.partitions or "–"), row.kept, "; ".join(row.differs) or "–")
    console.print(table)
    return 3 if any(row.differs for row in rows) else 0
