"""``openv topics create``: a topic of an operator's own, and which names they can't have."""

import asyncio
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner

from operations.cli import app
from operations.core.replay_names import why_no_name
from repo.settings import ServerSettings
from repo.topic_admin import TopicAdmin
from schemas.topics import DAY, TOPICS, Topic
from tests.streams.submissions import new_id


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "`openv topics apply` makes it") for name in TOPICS),
        ("commands", "short for openv.commands"),
        ("origin", "dead letters came from"),
        ("__consumer_offsets", "Kafka's own"),
        ("", "1 to 249"),
        (".", "1 to 249"),
        ("..", "1 to 249"),
        ("a b", "1 to 249"),
        ("grün", "1 to 249"),
        ("a\n", "1 to 249"),
        ("file:a", "1 to 249"),
        ("x" * 250, "1 to 249"),
    ],
)
def test_names_that_nobody_can_have(name: str, words: str) -> None:
    assert words in (why_no_name(name) or "")
    refused = CliRunner().invoke(app, ["topics", "create", "--", name])
    assert refused.exit_code == 1
    assert refused.output == f"openv: {why_no_name(name)}\n"


def test_all_others_can_be_had() -> None:
    assert [why_no_name(one) for one in ("their.topic", "_a", "A-1", "x" * 249, "openv.mine")] == [None] * 5


@pytest.mark.servers
def test_it_is_made_once(servers: Mapping[str, str], settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in servers.items():
        monkeypatch.setenv(key, value)
    name, other = new_id("x.mine-"), new_id("x.mine-")
    made = CliRunner().invoke(app, ["topics", "create", name])
    assert (made.exit_code, made.output) == (0, f"{name}: made, 3 partitions, kept 7 days\n")
    again = CliRunner().invoke(app, ["topics", "create", name, "--partitions", "4"])
    assert (again.exit_code, again.output) == (1, f"openv: There is a topic {name} already, of 3 partitions.\n")
    made = CliRunner().invoke(app, ["topics", "create", other, "--partitions", "1", "--keep-days", "2"])
    assert (made.exit_code, made.output) == (0, f"{other}: made, 1 partition, kept 2 days\n")

    async def differs() -> list[tuple[str, ...]]:
        async with TopicAdmin(settings) as admin:
            table = {name: Topic(name, 3, 7 * DAY, ()), other: Topic(other, 1, 2 * DAY, ())}
            return [one.differs for one in await admin.describe(table)]

    assert asyncio.run(differs()) == [(), ()]
