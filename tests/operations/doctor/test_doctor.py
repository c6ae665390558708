"""``openv doctor`` on real servers: each finding is provoked, found, and where that is possible repaired."""

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from rich.console import Console
from typer.testing import CliRunner

from gateway.identity.keys import new_key
from operations.audit.recording import SOURCE as AUDIT_SOURCE
from operations.cli import app
from operations.core.counting import several
from operations.core.findings import Finding, Level, Mends
from operations.core.readers import READERS
from operations.doctor import commands, groups_check
from operations.doctor.examine import CHECKS, examine
from operations.doctor.surroundings import DAY_MS, Surroundings, surroundings
from repo.clock import now_ms
from repo.core.object_keys import file_key, input_key
from repo.kafka import KafkaEventLog
from repo.kafka_clients import connection_options
from repo.mongo import MongoDatabase
from repo.settings import ServerSettings
from schemas.access import Person
from schemas.accounts import Account
from schemas.audit import AuditEntry, AuditStage
from schemas.chunks import Chunks
from schemas.codec import decode, encode
from schemas.commands import AskUsage, CancelJob
from schemas.dispositions import Disposition, Fate
from schemas.jobs import Output
from schemas.lifecycle import State
from schemas.topics import AUDIT, COMMANDS, DEADLETTER
from streams.core.policy import Policy
from streams.deadletters import CannotProcess, dead_letter
from streams.ledger import Ledger
from tests.operations.doctor.jobs_made import a_job
from tests.servers import closed_port

pytestmark = pytest.mark.servers
NOWHERE = Path("nowhere")  # the environment names the servers
PAGE_ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def told(servers: Mapping[str, str], database: str) -> dict[str, str]:
    """A database and a bucket of this module's own."""
    bucket = f"doctor-{uuid.uuid4().hex[:12]}"
    return {**servers, "MONGODB_DATABASE": database, "S3_BUCKET": bucket, "OPENV_PUBLIC_URL": PAGE_ORIGIN}


@pytest.fixture(autouse=True)
def environment(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def around(topics: list[str], mongo: MongoDatabase) -> AsyncIterator[Surroundings]:
    async with surroundings(NOWHERE) as made:
        await made.stores.main.prepare()
        yield made


async def found(around: Surroundings, name: str) -> list[Finding]:
    """All but what is well."""
    return [one for one in await examine(around, [name]) if one.level is not Level.OK]


async def problems(around: Surroundings, name: str) -> list[Finding]:
    return [one for one in await found(around, name) if one.level is Level.PROBLEM]


async def repaired(name: str, *, older_than_ms: int = DAY_MS) -> tuple[int, str]:
    """The exit code of ``openv doctor --repair --only NAME``, and what it said."""
    said = io.StringIO()
    console = Console(file=said, width=200)
    code = await commands.doctor(NOWHERE, console, only=[name], repairing=True, older_than_ms=older_than_ms)
    return code, said.getvalue()


async def test_every_check_runs_on_a_deployment_that_is_well(around: Surroundings) -> None:
    names = [name for name in CHECKS if name not in ("gateway", "groups", "deadletters")]  # others' leavings in topics
    findings = await examine(around, names)
    assert [one for one in findings if one.level is Level.PROBLEM] == []
    assert {one.check for one in findings} == set(names)
    assert {one.check for one in findings if one.level is Level.OK} >= {"kafka", "topics", "mongodb", "s3", "clock"}
    assert await around.stores.main.list_keys("") == [], "probes are deleted"


async def test_a_topic_with_other_settings_is_set_right(around: Surroundings, settings: ServerSettings) -> None:
    admin = AIOKafkaAdminClient(client_id="tests", **connection_options(settings))
    await admin.start()
    try:
        other = {**AUDIT.config(), "retention.ms": "3600000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, AUDIT.name, other)])
        name = f"openv.stray-{uuid.uuid4().hex[:6]}"
        await admin.create_topics([NewTopic(name, 1, 1)])
        (wrong,) = await problems(around, "topics")
        assert "retention.ms is 3600000" in wrong.what
        assert (wrong.mend, wrong.repair) == ("openv topics apply", Mends.TOPICS)
        assert any(name in one.what for one in await found(around, "topics") if one.level is Level.NOTE)
        code, said = await repaired("topics")
        assert code == 0, said
        assert "retention.ms was 3600000" in said
        await admin.delete_topics([name])
    finally:
        await admin.close()


async def test_a_missing_index_is_made(
    around: Surroundings, kafka_log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_DATABASE", f"doctor_{uuid.uuid4().hex[:12]}")
    async with surroundings(NOWHERE) as bare:
        await bare.desk.database.deliveries.sweep(0)
        (wrong,) = await problems(bare, "mongodb")
        assert "jobs: " in wrong.what
        before = await kafka_log.ends(AUDIT.name)
        code, said = await repaired("mongodb")
        assert (code, "all indexes are there" in said) == (0, True), said
        assert await problems(bare, "mongodb") == []
    records = await kafka_log.read(AUDIT.name, 0, before[0], before[0] + 9)
    entries = [entry for one in records if isinstance(entry := decode(one), AuditEntry)]
    assert [(one.action, one.stage, one.target) for one in entries] == [
        ("doctor.indexes", AuditStage.BEGUN, "mongodb"),
        ("doctor.indexes", AuditStage.DONE, "mongodb"),
    ]
    assert {one.header("ce_source") for one in records} == {AUDIT_SOURCE}


async def test_a_bucket_that_is_not_there_is_made(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", f"doctor-{uuid.uuid4().hex[:12]}")
    async with surroundings(NOWHERE) as without:
        (wrong,) = await problems(without, "s3")
        assert wrong.repair is Mends.BUCKET
        code, said = await repaired("s3")
        assert code == 0, said
        assert await problems(without, "s3") == []


async def test_a_bucket_that_refuses_our_page_is_told_to_let_it_read(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET", f"doctor-{uuid.uuid4().hex[:12]}")
    async with surroundings(NOWHERE) as strict:
        await strict.stores.main.prepare()
        await strict.stores.main.allow_origins(["https://other.example.org"])  # type: ignore[attr-defined]
        (wrong,) = await problems(strict, "s3")
        assert (wrong.repair, wrong.targets) == (Mends.CORS, ("main", PAGE_ORIGIN))
        code, said = await repaired("s3")
        assert code == 0, said
        assert await problems(strict, "s3") == []


async def test_a_server_that_is_away_is_a_finding_and_stops_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    async with surroundings(NOWHERE) as around:
        findings = await examine(around, ["s3", "clock", "mongodb", "files"])
        wrong = {one.check for one in findings if one.level is Level.PROBLEM}
        assert wrong == {"s3"}
        assert {one.check: one.what for one in findings if one.level is Level.FOLLOWS} == {"files": "not looked at"}
        assert {one.check for one in findings} == {"s3", "clock", "mongodb", "files"}


@pytest.mark.parametrize(("by_ms", "words"), [(-60_000, "behind"), (60_000, "ahead of")])
async def test_a_clock_that_is_wrong(around: Surroundings, by_ms: int, words: str) -> None:
    around.now = lambda: now_ms() + by_ms
    wrong = await problems(around, "clock")
    assert any(words in one.what and "MongoDB" in one.what for one in wrong)
    assert any(words in one.what and "S3" in one.what for one in wrong)


async def test_a_ledger_that_does_not_run_is_behind(around: Surroundings, kafka_log: KafkaEventLog) -> None:
    ends = await kafka_log.ends(COMMANDS.name)
    await around.desk.database.jobs.store_applied_offsets("ledger", {at: end - 1 for at, end in ends.items() if end})
    command = CancelJob(command_id=str(uuid.uuid4()), user_id="ann", job_id="nobody's")
    await kafka_log.append(encode(command, source="/tests", at=now_ms()))
    assert not [one for one in await found(around, "groups") if one.what.startswith("ledger is behind")]
    around.now = lambda: now_ms() + 3_600_000
    told = await found(around, "groups")
    (behind,) = [one for one in told if one.what.startswith("ledger is behind")]
    assert "1 records of openv.commands" in behind.what
    (cause,) = [one for one in told if one.what == behind.because]
    assert (behind.level, behind.mend) == (Level.FOLLOWS, ""), "it is behind because none runs"
    assert (cause.level, "openv streams" in cause.mend) == (Level.PROBLEM, True)


async def test_a_ledger_that_runs_and_does_nothing_stands_still(
    around: Surroundings, kafka_log: KafkaEventLog, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, topic in READERS.items():  # others' groups have read these topics, and this database must know of it
        ends = await kafka_log.ends(topic)
        await around.desk.database.jobs.store_applied_offsets(name, {at: end - 1 for at, end in ends.items() if end})
    command = CancelJob(command_id=str(uuid.uuid4()), user_id="ann", job_id="nobody's")
    at = await kafka_log.append(encode(command, source="/tests", at=now_ms()))
    idle = AIOKafkaConsumer(
        COMMANDS.name, group_id="openv-ledger", enable_auto_commit=False, **connection_options(settings)
    )
    await idle.start()
    try:
        assert not await of_ledger(around), "it may just be about to apply it"
        around.now = lambda: now_ms() + 3_600_000
        monkeypatch.setattr(groups_check, "APART_S", 0.0)
        (still,) = await of_ledger(around)
        assert f"stands still: 1 records of openv.commands wait in partitions [{at.partition}]" in still.what
        assert still.mend == "docker compose restart streams"
        around.stack = {"parts": {"streams": {"pid": 77}}}
        (still,) = await of_ledger(around)
        assert still.mend == "kill -9 77", "a local one is started again by `openv up`"
    finally:
        await idle.stop()


async def of_ledger(around: Surroundings) -> list[Finding]:
    return [one for one in await problems(around, "groups") if "ledger" in one.what]


async def test_dead_letters_that_nobody_dealt_with_are_counted(
    around: Surroundings, kafka_log: KafkaEventLog, mongo: MongoDatabase
) -> None:
    command = CancelJob(command_id="c", user_id="ann", job_id="j")
    at = await kafka_log.append(encode(command, source="/tests", at=now_ms()))
    (record,) = await kafka_log.read(COMMANDS.name, at.partition, at.offset, at.offset + 1)
    lies = await kafka_log.append(dead_letter(record, "openv-ledger", CannotProcess("of no use")))
    starts, ends = await kafka_log.starts(DEADLETTER.name), await kafka_log.ends(DEADLETTER.name)
    kept = sum(ends[partition] - start for partition, start in starts.items())
    (wrong,) = await problems(around, "deadletters")
    assert wrong.what.startswith(f"{several(kept, 'dead letter')} that nobody has dealt with, the oldest for ")
    assert wrong.mend == "openv deadletters redrive --all"

    letters = [
        (partition, one)
        for partition, start in starts.items()
        for one in await kafka_log.read(DEADLETTER.name, partition, start, ends[partition])
    ]
    disposed = [
        Disposition(
            letter=f"{partition}:{one.offset}",
            letter_at=one.timestamp,
            fate=Fate.DISCARDED,
            at=now_ms(),
            actor="tests",
        )
        for partition, one in letters
        if (partition, one.offset) != (lies.partition, lies.offset)
    ]
    await mongo.dispositions.dispose(disposed)
    (wrong,) = await problems(around, "deadletters")
    assert wrong.what.startswith("1 dead letter that nobody has dealt with")


async def test_files_of_nobody_go_and_all_others_stay(around: Surroundings, mongo: MongoDatabase) -> None:
    store = around.stores.main
    keep, gone = a_job(), a_job(state=State.DELETED)
    counted = file_key("ann", keep.job_id, 2, "w", "s", "video")
    video = await store.put_bytes(counted, b"video", "video/mp4")
    keep = replace(keep, output=Output(video=video))
    active = a_job(state=State.PROCESSING, started_at=now_ms(), expires_at=now_ms() + DAY_MS * 900)
    for job in (keep, gone, active):
        assert await mongo.jobs.store_job(job, 0)
    of_ann = {
        "lost attempt": file_key("ann", keep.job_id, 1, "w", "s", "video"),
        "deleted": file_key("ann", gone.job_id, 1, "w", "s", "video"),
        "deleted input": input_key("ann", gone.job_id),
    }
    unknown = file_key("bob", str(uuid.uuid4()), 1, "w", "s", "video")
    others = {
        input_key("ann", keep.job_id),
        file_key("ann", active.job_id, 1, "w", "s", "video"),
        file_key("bob", keep.job_id, 1, "w", "s", "video"),  # not its user
        "a person's own.txt",
        unknown,
    }
    for key in (*of_ann.values(), *others):
        await store.put_bytes(key, b"x", "text/plain")
    assert await problems(around, "files") == [], "all of it is younger than a day"

    around.now = lambda: now_ms() + 2 * DAY_MS
    strays = {target for one in await problems(around, "files") for target in one.targets}
    assert strays == {f":{key}" for key in of_ann.values()}, "a job of which nothing is known may yet be decided"
    assert any("none that OpenV names" in one.what for one in await found(around, "files"))
    around.now = lambda: now_ms() + 60 * DAY_MS
    strays = {target for one in await problems(around, "files") for target in one.targets}
    assert strays == {f":{key}" for key in (*of_ann.values(), unknown)}

    code, said = await repaired("files", older_than_ms=0)
    assert "3 objects deleted" in said or said.count("deleted") >= 2, said
    assert code == 0, said
    assert set(await store.list_keys("")) == {counted, *others}


async def test_a_completed_job_without_its_file(around: Surroundings, mongo: MongoDatabase) -> None:
    store = around.stores.main
    job = a_job()
    key = file_key("ann", job.job_id, 1, "w", "s", "video")
    video = await store.put_bytes(key, b"video", "video/mp4")
    await mongo.jobs.store_job(replace(job, output=Output(video=video)), 0)
    assert not [one for one in await problems(around, "files") if job.job_id in one.what]
    await store.delete([key])
    (wrong,) = [one for one in await problems(around, "files") if job.job_id in one.what]
    assert "show files that are gone" in wrong.what
    assert wrong.mend.startswith(("openv jobs delete", "aws "))


async def test_chunks_of_nobody_are_deleted(around: Surroundings, mongo: MongoDatabase) -> None:
    chunks = Chunks(job_id=str(uuid.uuid4()), attempt=1, version=1, delete_at=now_ms() + DAY_MS, waiting=("1",))
    assert await mongo.endpoints.store_chunks(chunks, 0)
    (wrong,) = await problems(around, "documents")
    assert wrong.targets == (chunks.job_id,)
    code, said = await repaired("documents")
    assert code == 0, said
    assert await mongo.endpoints.chunks(chunks.job_id) is None


async def test_what_nobody_can_read_is_named_with_what_mends_it(around: Surroundings, mongo: MongoDatabase) -> None:
    secret, key = new_key("dora", now=now_ms())
    await mongo.access.store_api_key(key)
    await mongo.access.store_person(Person(user_id="dora", updated_at=1))
    for name, document_id in (("api_keys", key.key_hash), ("persons", "dora")):
        wrong = {"createdAt": "a secret", "updatedAt": "a secret"}
        await mongo.connection.collection(name).update_one({"_id": document_id}, {"$set": wrong})
    keys, persons = await problems(around, "documents")
    assert (keys.what, keys.mend) == (
        f"1 damaged document in api_keys: {secret[:9]} of dora",
        f"openv keys revoke --user dora {secret[:9]}",
    )
    assert (persons.what, persons.mend) == ("1 damaged document in persons: dora", "openv backup FILE")
    assert "a secret" not in repr((keys, persons))
    await mongo.copies.delete("persons", ["dora"])
    await mongo.access.drop_damaged_key(*await mongo.access.damaged_keys("dora"))
    assert await problems(around, "documents") == []


async def test_stuck_jobs_and_admissions_that_were_never_completed(around: Surroundings, mongo: MongoDatabase) -> None:
    stuck = a_job(state=State.PROCESSING, started_at=1, pool="stuck", expires_at=now_ms() + DAY_MS)
    assert await mongo.jobs.store_job(stuck, 0)
    held = a_job(state=State.QUEUED, user_id="carl", updated_at=1)
    assert await mongo.jobs.store_account(Account(user_id="carl", version=1, pending={held.job_id: held}), 0)
    past, open_ = await problems(around, "jobs")
    assert stuck.job_id in past.what
    assert (open_.repair, open_.targets) == (Mends.PENDING, ("carl",))
    assert await mongo.jobs.settle_job(held)
    assert [one.what for one in await problems(around, "jobs") if one.repair] == []
    queued = [one for one in await problems(around, "workers") if held.pool in one.what]
    assert queued
    assert queued[0].mend == "OPENV_POOL=mochi-1 openv worker"
    assert await mongo.jobs.store_account(Account(user_id="carl", version=2), 1)
    for job in (stuck, held):
        assert await mongo.upkeep.remove_job(job)


async def test_the_ledger_completes_what_was_left_when_it_is_asked(
    around: Surroundings, mongo: MongoDatabase, kafka_log: KafkaEventLog
) -> None:
    held = a_job(state=State.QUEUED, user_id=f"dan-{uuid.uuid4().hex[:6]}", updated_at=1, pool="left")
    account = Account(user_id=held.user_id, version=1, pending={held.job_id: held})
    assert await mongo.jobs.store_account(account, 0)
    ledger = Ledger(mongo.jobs, kafka_log, Policy())
    begin = await kafka_log.ends(COMMANDS.name)

    async def decide() -> None:
        async with aclosing(kafka_log.tail(COMMANDS.name, begin)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for record in batch:
                    if isinstance(command := decode(record), AskUsage):
                        await ledger.handle(command, record, 1)

    deciding = asyncio.create_task(decide())
    try:
        code, said = await repaired("jobs")
    finally:
        deciding.cancel()
    assert "1 account looked at by the ledger" in said
    assert code == 3, "it is completed, and past its time"
    assert await mongo.jobs.job(held.job_id) == held
    assert [one for one in await problems(around, "jobs") if one.repair] == []
    assert await mongo.upkeep.remove_job(held)


@pytest.fixture
def run() -> Callable[..., Any]:
    return lambda *words: CliRunner().invoke(app, ["doctor", *words])


def test_the_command_says_it_in_json_and_by_its_exit_code(run: Callable[..., Any], topics: list[str]) -> None:
    well = run("--only", "topics", "--json")
    assert (well.exit_code, json.loads(well.stdout)["level"]) == (0, "ok")
    wrong = run("--only", "gateway", "--json")
    said = json.loads(wrong.stdout)
    assert (wrong.exit_code, said["level"]) == (3, "problem")
    assert said["findings"][0]["mend"] == "openv gateway"
    assert run("--only", "nonsense").exit_code == 1
