"""A mistake in the ledger's core, its dead letters, the fix, and everything that users were promised after all.

Real servers and processes. The redrive is killed midway and goes on; what it says is looked at after every step.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from operations.audit.recording import Actor
from operations.core.dead_letters import By, Seen, Sought, Standing
from operations.deadletters.discarding import discard
from operations.deadletters.editing import prepared
from operations.deadletters.editing import send as send_edited
from operations.deadletters.reading import letters, listing, named
from operations.deadletters.redriving import choose, plan, redrive
from operations.deadletters.views import letter_plain, listing_plain
from operations.replay.pace import Wishes
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.codec import Record
from schemas.commands import AttemptStarted, AttemptSucceeded, CancelJob, SubmitJob
from schemas.jobs import ChargeState, Job, Output
from schemas.lifecycle import State
from schemas.replay_plans import ReplayState
from schemas.replays import REPLAY_ID, SOURCE_AT
from schemas.topics import AUDIT, COMMANDS
from tests.outages.foreign import Foreign
from tests.outages.poison import poisons, pour
from tests.streams.streams_process import StreamsProcess, eventually, streams_running
from tests.streams.submissions import Ear, new_id, send, submission

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(300)]

OPERATOR = Actor("op@host", "cli", "host")
USERS, OF_EACH = 30, 3
IN_TIME_MS = 5_000  # for which their senders waited
GARBAGE = ("not JSON", "random bytes", "no type", "another's key", "as large as may be")
LIMITS = {"OPENV_MAX_ACTIVE": "3", "OPENV_RATE_LIMIT": "2", "MONTHLY_LIMIT_SECONDS": "600"}
ALL = frozenset(Standing)


class Faulty(StreamsProcess):
    COMMAND = (sys.executable, "-m", "tests.operations.deadletters.faulty_streams")


@dataclass
class Mistake:
    """What was set aside. ``since``: nothing of others is."""

    room: Room
    environment: dict[str, str]
    word: str
    since: int
    jobs: list[SubmitJob]
    cancelled: SubmitJob
    too_late: SubmitJob

    def sought(self, *standings: Standing) -> Sought:
        return Sought(since=self.since, standings=frozenset(standings) or frozenset({Standing.OPEN}))

    async def seen(self, sought: Sought) -> list[Seen]:
        return [seen async for some in letters(self.room, sought) for seen in some]

    async def job(self, command: SubmitJob) -> Job | None:
        return await self.room.database.jobs.job(command.job_id)

    def openv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "operations", *arguments, "--json"]


@pytest.fixture(scope="module")
async def mistake(
    servers: Mapping[str, str],
    settings: ServerSettings,
    database: str,
    kafka_log: KafkaEventLog,
    mongo: MongoDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Mistake]:
    """The ledger with the mistake runs until all is set aside; then the one without it."""
    ends = await kafka_log.ends(COMMANDS.name)
    await mongo.jobs.store_applied_offsets("ledger", {at: end - 1 for at, end in ends.items() if end})
    word, folder = new_id("bug-"), tmp_path_factory.mktemp("redriven")
    environment = {**servers, **LIMITS, "MONGODB_DATABASE": database, "MISTAKE_WITH": word}
    faulty = Faulty(environment, folder / "faulty", "--role", "ledger")
    try:
        await faulty.ready()
        since, soon = now_ms(), now_ms() + IN_TIME_MS
        users = [f"{word}-{number}" for number in range(USERS)]
        jobs = [submission(user, "pool", append_by=soon) for user in users for _ in range(OF_EACH)]
        late = submission(f"{word}-late", "pool", append_by=1)
        cancelled = submission(f"{word}-cancels", "pool", append_by=soon)
        cancel = CancelJob(command_id=new_id(), user_id=cancelled.user_id, job_id=cancelled.job_id)
        one = Mistake(Room(settings, kafka_log, mongo), environment, word, since, jobs, cancelled, late)
        well = submission(new_id("well-"), "pool")
        async with Ear(kafka_log, "openv.events") as ear:
            await send(kafka_log, *jobs, late, cancelled)
            await send(kafka_log, cancel, well)
            async with Foreign(servers["KAFKA_BOOTSTRAP_SERVERS"]) as foreign:
                kinds = poisons(submission(users[0], "pool"), submission(users[1], "pool"))
                await pour(foreign, COMMANDS.name, 1, {name: kinds[name] for name in GARBAGE})
            await ear.answered(well)

        async def all_set_aside() -> bool:
            return len(await one.seen(one.sought())) == len(jobs) + 3 + len(GARBAGE)

        await eventually(all_set_aside, 60, what="dead letters")
        assert await faulty.terminate() == 0, faulty.words()
    finally:
        faulty.close()

    async def is_past() -> bool:
        return now_ms() > soon

    await eventually(is_past)
    async with streams_running(environment, folder / "fixed", "--role", "ledger"):
        yield one


async def openv(mistake: Mistake, *arguments: str) -> Any:
    """A command's JSON."""
    done = await asyncio.to_thread(
        subprocess.run,
        mistake.openv(*arguments),
        env=os.environ | mistake.environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


async def replayed(mistake: Mistake) -> list[Record]:
    """What was written again."""
    log = mistake.room.log
    ends = await log.ends(COMMANDS.name)
    starts = await log.offsets_at(COMMANDS.name, mistake.since)
    found = [one for at, end in ends.items() for one in await log.read(COMMANDS.name, at, starts[at], end)]
    return [one for one in found if one.header(REPLAY_ID)]


async def test_all_of_them_are_listed_and_shown(mistake: Mistake) -> None:
    since = "--since=1h"
    by_reason = await openv(mistake, "deadletters", "list", since, "--topic", "commands", "--limit", "500")
    mistakes = [count for name, count in by_reason["groups"].items() if "could not decide: KeyError in decide" in name]
    assert sum(mistakes) >= len(mistake.jobs) + 3
    sought = replace(mistake.sought(), users=(mistake.cancelled.user_id,))
    of_user = listing_plain(await listing(mistake.room, sought, By.TYPE, 10), By.TYPE)
    assert of_user["groups"] == {SubmitJob.TYPE: 1, CancelJob.TYPE: 1}
    assert {one["state"] for one in of_user["letters"]} == {"open"}

    (submit,) = [one for one in of_user["letters"] if one["type"] == SubmitJob.TYPE]
    shown = await openv(mistake, "deadletters", "show", submit["id"])
    assert shown["exception"] == "builtins.KeyError"
    assert shown["group"] == "openv-ledger"
    assert (shown["readable"], shown["notRedrivable"]) == (True, None)
    assert "corgi" not in json.dumps(shown), "what users wrote is shown on demand alone"
    (seen,) = await named(mistake.room, [submit["id"]])
    assert "corgi" in letter_plain(seen, value=True)["value"]

    garbage = [seen for seen in await mistake.seen(mistake.sought()) if "could not decide" not in seen.reason]
    assert len(garbage) == len(GARBAGE)
    assert all(letter_plain(seen, value=False)["notRedrivable"] for seen in garbage)
    (bytes_,) = [seen for seen in garbage if seen.record.value == bytes(range(256))]
    assert letter_plain(bytes_, value=True)["value"].startswith("00000000  00 01 02")


async def test_an_edited_one_is_decided_as_edited(mistake: Mistake) -> None:
    wanted = Sought(since=mistake.since, users=(f"{mistake.word}-0",))
    (first, *_) = sorted(await mistake.seen(wanted), key=lambda one: one.record.offset)
    body = json.loads(first.record.value)
    body["request"]["numFrames"] = 13
    with pytest.raises(StackError, match=r"request\.steps"):
        prepared(first, json.dumps({**body, "request": {**body["request"], "steps": "many"}}).encode())
    edit = prepared(first, json.dumps(body).encode())
    assert '-    "numFrames": 7,' in edit.difference
    await send_edited(mistake.room, edit, OPERATOR, reason="longer")

    async def is_admitted() -> Job | None:
        return await mistake.room.database.jobs.job(body["jobId"])

    job = await eventually(is_admitted)
    assert job is not None
    assert (job.state, job.request.num_frames) == (State.QUEUED, 13)
    (again,) = await named(mistake.room, [first.place])
    assert again.standing is Standing.EDITED
    with pytest.raises(StackError, match="--again"):
        await send_edited(mistake.room, prepared(again, json.dumps(body).encode()), OPERATOR)


async def test_a_redrive_that_is_killed_goes_on_and_every_promise_is_kept(mistake: Mistake) -> None:
    sought = mistake.sought()
    dry = await openv(mistake, "deadletters", "redrive", "--since", "1h", "--reason", "could not decide")
    assert await replayed(mistake) == [one for one in await replayed(mistake) if one.header(REPLAY_ID).startswith("e-")]
    assert dry["letters"] >= len(mistake.jobs) + 2
    command = mistake.openv(
        "deadletters", "redrive", "--since=1h", "--reason=could not decide", "--execute", "--rate=20"
    )
    environment = os.environ | mistake.environment
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 -- it starts at once

    async def some_written() -> list[Record]:
        assert process.poll() is None, "it was over before it could be killed"
        return [one for one in await replayed(mistake) if str(one.header(REPLAY_ID)).startswith("r-")]

    written = await eventually(some_written)
    process.send_signal(signal.SIGKILL)
    process.wait()
    replay_id = str(written[0].header(REPLAY_ID))
    standings = Counter(one.standing for one in await mistake.seen(replace(sought, standings=ALL)))
    assert standings[Standing.REDRIVING] > 0
    assert (await choose(mistake.room, (), sought)).chosen == [], "they belong to the one that was killed"

    async def goes_on() -> bool:
        done = await asyncio.to_thread(
            subprocess.run,
            mistake.openv("replay", replay_id, "--continue"),
            env=os.environ | mistake.environment,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0  # its lease has to run out first

    await eventually(goes_on, 90, what="the redrive goes on")
    sources = Counter(one.header(SOURCE_AT) for one in await replayed(mistake) if one.header(REPLAY_ID) == replay_id)
    assert max(sources.values()) == 1, "each once"
    assert len(sources) == dry["letters"]
    standings = Counter(one.standing for one in await mistake.seen(replace(sought, standings=ALL)))
    assert standings == {
        Standing.REDRIVEN: len(mistake.jobs) + 2, Standing.EDITED: 1, Standing.OPEN: len(GARBAGE)
    }  # fmt: skip
    await all_are_made(mistake)


async def all_are_made(mistake: Mistake) -> None:
    """What was asked for in time is made and charged for; what was cancelled is not, nor what came too late."""
    room = mistake.room

    async def decided() -> bool:
        applied, ends = await room.database.jobs.applied_offsets("ledger"), await room.log.ends(COMMANDS.name)
        return all(applied.get(at, -1) >= end - 1 for at, end in ends.items() if end)

    await eventually(decided, 60, what="the ledger decides all")
    for command in mistake.jobs:
        job = await mistake.job(command)
        assert job is not None
        assert job.state is State.QUEUED, command
        assert job.refusal is None
        about: dict[str, Any] = {"user_id": job.user_id, "job_id": job.job_id, "attempt": 1, "worker_id": "w"}
        await send(
            room.log,
            AttemptStarted(command_id=new_id(), **about),
            AttemptSucceeded(command_id=new_id(), output=Output(frames=7), **about),
        )
    await eventually(decided, 60, what="the ledger decides all")
    found = [await mistake.job(command) for command in mistake.jobs]
    assert all(job is not None and job.state is State.COMPLETED for job in found)
    assert {job.charge.state for job in found if job} == {ChargeState.CAPTURED}
    cancelled = await mistake.job(mistake.cancelled)
    assert cancelled is not None
    assert (cancelled.state, cancelled.charge.state) == (State.CANCELLED, ChargeState.REFUNDED)
    assert await mistake.job(mistake.too_late) is None


async def test_redriven_once_more_they_change_nothing(mistake: Mistake) -> None:
    redriven = await mistake.seen(mistake.sought(Standing.REDRIVEN))
    before = [await mistake.job(command) for command in (*mistake.jobs, mistake.cancelled)]
    choice = await choose(mistake.room, [one.place for one in redriven], Sought())
    wanted = await plan(mistake.room, choice, lambda _: None)
    assert wanted.plan is not None
    effects = json.loads(wanted.plan.report)["effects"]
    assert (effects["jobs"], effects["generations"], effects["accounts"]) == ({}, 0, 0), "so says the dry run"
    ended = await redrive(mistake.room, wanted, OPERATOR, Wishes(), lambda _: None)
    assert ended.plan.state is ReplayState.DONE
    assert ended.came_back == 0

    async def decided() -> bool:
        applied = await mistake.room.database.jobs.applied_offsets("ledger")
        ends = await mistake.room.log.ends(COMMANDS.name)
        return all(applied.get(at, -1) >= end - 1 for at, end in ends.items() if end)

    await eventually(decided, 60)
    assert [await mistake.job(command) for command in (*mistake.jobs, mistake.cancelled)] == before


async def test_what_is_of_no_use_is_discarded_with_a_reason(mistake: Mistake) -> None:
    sought = mistake.sought()
    counted = await discard(mistake.room, (), sought, OPERATOR, "garbage", execute=False)
    assert counted.letters == len(GARBAGE)
    with pytest.raises(StackError, match="Say why"):
        await discard(mistake.room, (), sought, OPERATOR, " ", execute=True)
    with pytest.raises(StackError, match="without --execute first"):
        await discard(mistake.room, (), sought, OPERATOR, "garbage", execute=True)
    assert counted.expected is not None
    other = replace(counted.expected, digest="0" * 16)
    with pytest.raises(StackError, match="but others"):
        await discard(mistake.room, (), sought, OPERATOR, "garbage", execute=True, expected=other)
    assert len(await mistake.seen(sought)) == len(GARBAGE)
    about = ("deadletters", "discard", "--since=1h", f"--user={mistake.word}-0", "--matching=the record's key")
    dry = await openv(mistake, *about, "--reason=garbage")
    assert not dry["executed"]
    done = await openv(mistake, *about, "--reason=garbage", "--execute", f"--expect={dry['expect']}")
    assert (done["letters"], done["executed"]) == (dry["letters"], True)
    rest = await discard(mistake.room, (), sought, OPERATOR, "garbage", execute=False)
    assert rest.letters == len(GARBAGE) - dry["letters"]
    again = await discard(mistake.room, (), sought, OPERATOR, "garbage", execute=True, expected=rest.expected)
    assert again.letters == rest.letters
    assert await mistake.seen(sought) == []
    said = [one.disposition for one in await mistake.seen(mistake.sought(Standing.DISCARDED))]
    assert {one.reason for one in said if one} == {"garbage"}
    here = sum(one.actor == OPERATOR.name for one in said if one)
    assert (here, len(said)) == (rest.letters, len(GARBAGE)), "the others were the command's"
    assert dry["letters"] > 0 < rest.letters


async def test_the_audit_says_who_did_what_and_quotes_nothing(mistake: Mistake) -> None:
    log = mistake.room.log
    first = (await log.offsets_at(AUDIT.name, mistake.since))[0]
    entries = await log.read(AUDIT.name, 0, first, (await log.ends(AUDIT.name))[0])
    actions = Counter(json.loads(one.value)["action"] for one in entries)
    assert actions.keys() >= {"deadletters.redrive", "deadletters.edit", "deadletters.discard"}
    assert not any(b"corgi" in one.value for one in entries)
