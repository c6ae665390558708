"""The commands as an operator types them, against the real servers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from operations.cli import app
from operations.replay import execute as executing
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.codec import Record, encode
from schemas.commands import CancelJob
from schemas.replay_plans import ReplayState
from schemas.replays import Replayed
from schemas.topics import AUDIT, COMMANDS
from streams.deadletters import CannotProcess, dead_letter
from tests.operations.replay.cluster import Row, fill, topics_named, whole
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id

pytestmark = pytest.mark.servers

ROWS: list[Row] = [(n % 4, f"k{n}".encode(), b'{"secret": "a corgi"}', [("ce_type", b"x.thing")]) for n in range(12)]


@pytest.fixture(scope="module")
async def names(settings: ServerSettings, topics: list[str], mongo: MongoDatabase) -> AsyncIterator[tuple[str, str]]:
    source, target = new_id("x.source-"), new_id("x.target-")
    async with topics_named(settings, source, target):
        await fill(settings, source, ROWS)
        yield source, target


@pytest.fixture(autouse=True)
def environment(servers: Mapping[str, str], database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**servers, "MONGODB_DATABASE": database}.items():
        monkeypatch.setenv(name, value)


async def openv(*words: str) -> Result:
    """In a thread: it runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, [*words, "--data-dir", "nowhere"])


async def said(*words: str, code: int = 0) -> str:
    result = await openv(*words)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


async def told(*words: str, code: int = 0) -> Any:
    text = await said(*words, "--json", code=code)
    return json.loads(text[min(at for at in (text.find("{\n"), text.find("[\n")) if at >= 0) :])


async def test_from_the_dry_run_to_the_end(names: tuple[str, str], settings: ServerSettings) -> None:
    source, target = names
    words = ("replay", source, "--into", target, "--type", "thing", "--where", "secret")
    shown = await said(*words)
    assert "12 of 12 read" in shown.replace(",", "")
    assert "Nothing was written" in shown
    assert "corgi" not in shown
    assert await whole(settings, target) == []

    held = await told(*words, "--execute", "--canary", "4", code=3)
    assert (held["state"], held["written"], held["reason"]) == ("canary", 4, "the first 4 are written")
    replay_id = held["id"]
    assert replay_id in shown
    rest = await said("replay", replay_id, "--continue", "--rate", "1000")
    assert "Done: 12 of 12 written" in rest
    assert len(await whole(settings, target)) == 12

    listed = await told("replays", "list")
    assert [(one["id"], one["state"]) for one in listed if one["source"] == source] == [(replay_id, "done")]
    one = await told("replays", "show", replay_id)
    assert one["scope"]["--where"] == '["secret"]'
    assert one["found"]["types"] == {"x.thing": 12}
    assert replay_id in await said("replays", "list")
    assert "x.thing" in await said("replays", "show", replay_id)
    entries = [json.loads(one.value) for one in await whole(settings, AUDIT.name)]
    done = [(one["action"], one["stage"]) for one in entries if one.get("target") == replay_id]
    assert done == [
        ("replay.execute", "begun"), ("replay.execute", "done"), ("replay.continue", "begun"),
        ("replay.continue", "done"),
    ]  # fmt: skip


async def test_what_a_person_gets_wrong_is_said(names: tuple[str, str]) -> None:
    source, target = names
    for words, expected, code in (
        (("replay", source, "--into", source), "file first", 1),
        (("replay", "commands", "--into", "openv.commands"), "file first", 1),
        (("replay", source, "--into", "assignments"), "replay openv.dispatch", 1),
        (("replay", source, "--into", "no.such.topic"), "`openv topics create no.such.topic`", 1),
        (("replay", source, "--into", "no/topic"), "no topic no/topic on this Kafka: check its name.", 1),
        (("replay", "no.such.topic", "--into", target), "no topic no.such.topic", 1),
        (("replay", source, "--into", target, "--from", "soon"), "is no time", 1),
        (("replay", source, "--into", target, "--where", "a =="), "no JMESPath", 1),
        (("replay", source, "--into", target, "--partition", "9"), "no partition 9", 1),
        (("replay", source, "--into", target, "--from-offset", "1"), "need one --partition", 1),
        (("replay", source, "--into", target, "--key", "k1", "--execute"), "no dry run", 1),
        (("replay", "r-none", "--execute"), "no replay r-none", 1),
        (("replays", "show", "r-none"), "no replay r-none", 1),
        (("replays", "cancel", "r-none"), "no replay r-none", 1),
        (("replays", "pause", "r-none"), "no replay r-none", 1),
        (("deadletters", "redrive", "r-none"), "is a dry run", 1),
        (("deadletters", "redrive", "r-none", "--execute"), "no replay r-none", 1),
        (("deadletters", "redrive", "r-none", "0:1", "--execute"), "Say one dry run", 1),
        (("deadletters", "discard", "--user", "nobody", "--reason", "x", "--execute"), "without --execute first", 1),
        (("deadletters", "discard", "--user", "nobody", "--reason", "x", "--expect", "7"), "--expect", 2),
        (("replay", source), "--into", 2),
        (("replay", "r-none", "--execute", "--key", "k"), "has its scope", 2),
    ):
        result = await openv(*words)
        assert result.exit_code == code, (words, result.output)
        assert expected in " ".join(result.output.replace("│", " ").split()), (words, result.output)


async def test_one_that_runs_elsewhere_is_paused(
    names: tuple[str, str], mongo: MongoDatabase, settings: ServerSettings
) -> None:
    source, target = names
    planned = await told("replay", source, "--into", target, "--type", "thing", "--no-rehearse")
    replay_id = planned["id"]
    running = asyncio.create_task(openv("replay", replay_id, "--execute", "--rate", "0.01"))

    async def runs() -> bool:
        plan = await mongo.replays.replay(replay_id)
        return plan is not None and plan.state is ReplayState.RUNNING

    await eventually(runs)
    assert f"openv replay {replay_id} --continue" in " ".join((await said("replays", "pause", replay_id)).split())
    stopped = await running
    assert stopped.exit_code == 3
    assert "Stopped by an operator: " in stopped.output
    assert f"openv replay {replay_id} --continue" in " ".join(stopped.output.split())
    assert (await told("replays", "show", replay_id))["state"] == "paused"
    assert "does not run: it is paused" in (await openv("replays", "pause", replay_id)).output
    entries = [json.loads(one.value) for one in await whole(settings, AUDIT.name)]
    stages = [one["stage"] for one in entries if (one["action"], one.get("target")) == ("replay.pause", replay_id)]
    assert stages == ["begun", "done", "begun", "failed"]
    ends = [one for one in entries if (one["action"], one.get("target")) == ("replay.execute", replay_id)]
    assert [(one["stage"], (one.get("detail") or {}).get("state")) for one in ends[1:]] == [("done", "paused")]


async def test_a_dead_letter_is_redriven_by_the_id_of_its_dry_run(
    kafka_log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "SETTLE_S", 0.01)  # no streams run here
    user = new_id("u-")
    made = encode(CancelJob(command_id=new_id(), user_id=user, job_id=new_id()), source="/t", at=1)
    for count in (0, 5):
        worn = Replayed("r-0", COMMANDS.name, 1, 2, 3, count).headers() if count else ()
        record = Record(COMMANDS.name, 4, 40 + count, 1_790_000_000_000, made.key, made.value, (*made.headers, *worn))
        await kafka_log.append(dead_letter(record, "openv-ledger", CannotProcess("mended")))
    words = ("deadletters", "redrive", "--user", user)
    dry = await said(*words)
    (replay_id,) = set(re.findall(r"openv deadletters redrive (r-\w+) --execute", dry))
    assert "writes just these 2 letters" in " ".join(dry.split())
    await kafka_log.append(dead_letter(record, "openv-ledger", CannotProcess("since")))
    refused = " ".join((await openv(*words, "--execute")).output.split())
    assert f"{replay_id}, the dry run of" in refused
    assert "1 is new since, 0 are gone" in refused
    done = await said("deadletters", "redrive", replay_id, "--execute")
    assert "1 of 2 dead letters redriven, 1 put into the quarantine." in done
    assert (await told("deadletters", "list", "--user", user, "--state", "all"))["states"] == {
        "redriven": 1, "quarantined": 1, "open": 1
    }  # fmt: skip
    assert "is done" in (await openv("deadletters", "redrive", replay_id, "--execute")).output


async def test_a_dry_run_may_be_cancelled(names: tuple[str, str]) -> None:
    source, target = names
    planned = await told("replay", source, "--into", target, "--key", "k2")
    assert planned["found"]["inScope"] == 1
    assert "is cancelled" in await said("replays", "cancel", planned["id"])
    assert "is cancelled" in (await openv("replay", planned["id"], "--execute")).output
