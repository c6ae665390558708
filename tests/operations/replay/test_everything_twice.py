"""Everything that ever happened, replayed twice: no further generation, no charge, no webhook, no changed document.

Real servers, a real gateway, real streams, a real worker's parent and child. Every end that a job can have is among
what is replayed, and garbage too: that comes to the dead letters, once for each time it was written, and stops nobody.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from operations.audit.recording import Actor
from operations.core.replay_scope import Asked
from operations.replay.dry_run import DryRun, plan
from operations.replay.execute import Ended, execute
from operations.replay.pace import Wishes
from operations.replay.room import Room
from schemas.accounts import Overrides
from schemas.codec import Record, encode
from schemas.commands import SetOverrides
from schemas.dispatch import RunAttempt
from schemas.replay_plans import ReplayPlan, ReplayState
from schemas.replays import REPLAY_ID, replayed
from schemas.topics import ASSIGNMENTS, AUDIT, COMMANDS, DEADLETTER, DISPATCH, EVENTS
from tests.end_to_end.fleet import Fleet, sailing
from tests.end_to_end.stack import until
from tests.outages.foreign import Foreign
from tests.outages.poison import poisons, pour
from tests.streams.receiver import Receiver, receiving
from tests.streams.submissions import new_id, submission

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(600)]

NAMES = ("streams-1", "gateway-1", "worker-1")
READERS = {COMMANDS.name: "ledger", EVENTS.name: "janitor", DISPATCH.name: "scheduler"}
OPERATOR = Actor("op@host", "cli", "host")
POISONS = ("not JSON", "a tombstone", "no type", "an unknown type", "random bytes")


@dataclass(frozen=True)
class Past:
    """What was lived through, and who was told."""

    fleet: Fleet
    room: Room
    receiver: Receiver
    garbage: int


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def past(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Past]:
    environ = {
        "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "OPENV_WEBHOOK_ALLOW_HTTP": "true",
        "OPENV_RETRY_DELAY_SECONDS": "0.2",
    }
    async with receiving() as receiver, sailing(tmp_path_factory.mktemp("twice"), NAMES, **environ) as fleet:
        room = Room(fleet.log._settings, fleet.log, fleet.database)
        garbage = await lived_through(fleet, receiver)
        yield Past(fleet, room, receiver, garbage)


async def lived_through(fleet: Fleet, receiver: Receiver) -> int:
    """Every way in which a job can end, and garbage. How much of that."""
    async with fleet.person("ann") as ann, fleet.person("poor") as poor:
        hook = await ann.ask("POST", "/api/webhooks", json={"url": receiver.url("/hook")})
        assert hook.status_code == 201, hook.text
        await fleet.log.append(
            encode(
                SetOverrides(
                    command_id=new_id(), user_id="poor", overrides=Overrides(max_active=0), issued_at=1_790_000_000_000
                ),
                source="/tests",
                at=1,
            )
        )
        done, gone = [await ann.submit(new_id(), prompt=f"film {name}") for name in "ab"]
        failed = await ann.submit(new_id(), prompt="nothing that can be done")
        held = await ann.submit(new_id(), prompt="held never")
        refused = await poor.ask("POST", "/api/runpod", json={"prompt": "film x", "num_frames": 7})
        assert refused.status_code == 409, refused.text
        for row in (done, gone):
            await ann.state(row["jobId"], "completed")
        await told(receiver, 2)
        await ann.delete(gone["jobId"])
        await ann.state(failed["jobId"], "failed")
        again = await ann.ask("POST", f"/api/runpod/{failed['jobId']}/retry")
        assert again.status_code == 200, again.text
        await ann.state(held["jobId"], "processing")
        assert await ann.cancel(held["jobId"])
        await ann.state(failed["jobId"], "failed")
        await told(receiver, 5)  # two completed, one cancelled, one failed twice
    lane = fleet.log.partition_of(COMMANDS.name, b"ann")
    kinds = poisons(submission("ann", "mochi-1"), submission("ann", "mochi-1"))
    async with Foreign(fleet.log._settings.kafka_bootstrap_servers) as foreign:
        await pour(foreign, COMMANDS.name, lane, {name: kinds[name] for name in POISONS})
    await at_rest(fleet)
    return len(POISONS)


async def told(receiver: Receiver, calls: int) -> None:
    """Wait for so many webhooks."""

    async def look() -> bool:
        return len(receiver.at("/hook")) >= calls

    await until(look, f"{calls} webhooks")


async def at_rest(fleet: Fleet) -> None:
    """All three readers have gone through all that is there, also through what they said to each other."""
    for _ in range(2):
        for topic, role in READERS.items():
            await fleet.applied(role, topic)


async def everything(past: Past) -> dict[str, Any]:
    """All documents, and how often a worker was told to run something."""
    connection = past.fleet.database.connection
    found: dict[str, Any] = {}
    for name in ("jobs", "accounts", "deliveries", "hooks"):
        documents = await connection.answer(
            lambda name=name: connection.collection(name).find({}).sort([("_id", 1)]).to_list(None)
        )
        found[name] = {one["_id"]: one for one in documents}
    orders = await records(past.fleet, ASSIGNMENTS.name)
    found["generations"] = Counter(
        str(orjson.loads(one.value)["jobId"]) for one in orders if one.header("ce_type") == RunAttempt.TYPE
    )
    found["calls"] = len(past.receiver.calls)
    return found


async def records(fleet: Fleet, topic: str) -> list[Record]:
    starts, ends = await fleet.log.starts(topic), await fleet.log.ends(topic)
    return [one for p in ends for one in await fleet.log.read(topic, p, starts[p], ends[p])]


async def whole_replay(past: Past, asked: Asked) -> tuple[ReplayPlan, Ended]:
    planned = await plan(past.room, DryRun(asked))
    ended = await execute(past.room, planned.replay_id, asked, OPERATOR, Wishes())
    assert ended.plan.state is ReplayState.DONE
    return planned, ended


async def test_two_replays_of_everything_change_nothing(past: Past, tmp_path: Path) -> None:
    before = await everything(past)
    states = Counter(job["state"] for job in before["jobs"].values())
    assert states == {"completed": 1, "deleted": 1, "failed": 1, "cancelled": 1, "rejected": 1}
    files: dict[str, Asked] = {}
    for topic in READERS:
        name = f"file:{tmp_path}/{topic}.jsonl"
        by_then = len(await records(past.fleet, topic))
        written = (await whole_replay(past, Asked(topic, name)))[1].plan.checkpoint
        assert written is not None
        # The scheduler's ticks go on meanwhile; what had been there is there.
        assert 0 < by_then <= written.written <= len(await records(past.fleet, topic))
        files[topic] = Asked(name, topic)

    replays: list[str] = []
    for _ in range(2):
        for topic, asked in files.items():
            planned, ended = await whole_replay(past, asked)
            found = orjson.loads(planned.report)
            effects = found["effects"]
            assert (effects["jobs"], effects["generations"], effects["deliveries"]) == ({}, 0, {}), found
            assert (effects["seconds"], effects["credits"], effects["accounts"]) == (0, 0, 0)
            garbage = past.garbage if topic == COMMANDS.name else 0
            assert sum(effects["deadLetters"].values()) == garbage
            checkpoint = ended.plan.checkpoint
            assert checkpoint is not None
            assert checkpoint.written == found["inScope"] > 0
            if garbage:
                replays.append(planned.replay_id)
    await at_rest(past.fleet)
    after = await everything(past)
    for name, known in before.items():
        assert after[name] == known, name

    letters = await records(past.fleet, DEADLETTER.name)
    for replay_id in replays:
        mine = [one for one in letters if one.header(REPLAY_ID) == replay_id]
        firsts = {said.origin for one in mine if (said := replayed(one.headers)) is not None}
        assert len(mine) == len(firsts) == past.garbage, "once each"
        assert all(one.header("openv_reason") for one in mine)
    assert len(letters) == past.garbage * 3


async def test_it_is_in_the_audit_who_did_it(past: Past, tmp_path: Path) -> None:
    planned, _ = await whole_replay(past, Asked(EVENTS.name, f"file:{tmp_path}/e", types=("job.failed.v1",)))
    entries = [orjson.loads(one.value) for one in await records(past.fleet, AUDIT.name)]
    mine = [one for one in entries if one["target"] == planned.replay_id]
    assert [(one["action"], one["stage"], one["actor"]) for one in mine] == [
        ("replay.execute", "begun", "op@host"),
        ("replay.execute", "done", "op@host"),
    ]
    assert mine[1]["detail"]["written"] == str(planned.in_scope)
