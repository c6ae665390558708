"""What changes something is in the audit before it is done, and as it ended; nothing else is, and nothing undoes it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.identity.keys import new_key
from operations import desk
from operations.admin.operation import Operation
from operations.admin.table import OPERATIONS
from operations.endpoints.wishes import Wishes, new_endpoint
from repo.clock import now_ms
from schemas.audit import AuditStage
from schemas.codec import Record, encode
from schemas.commands import AttemptReport, CancelJob
from schemas.dispatch import WorkerBeat, WorkerKind, WorkerState
from schemas.events import JobEvent
from schemas.jobs import AttemptEnd, EarlierAttempt
from schemas.lifecycle import State
from schemas.replay_plans import ReplayPlan, ReplayState
from schemas.topics import AUDIT, COMMANDS, DISPATCH
from streams.deadletters import CannotProcess, dead_letter
from tests.gateway.world import eventually, job
from tests.operations.admin.house import House, opened

SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="
SECRET_PROMPT = "prompt of"  # what the jobs' users wrote begins so
READING = [row for row in OPERATIONS if row.method == "get"]
CHANGING = [row for row in OPERATIONS if row.method != "get"]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[House]:
    monkeypatch.setattr(desk, "ANSWER_WITHIN_S", 0.2)
    async with opened(admin_backup_dir=tmp_path) as made:
        await furnish(made)
        yield made


async def furnish(house: House) -> None:
    """One of everything that a route may name."""
    for name, state in (("waits", State.QUEUED), ("failed", State.FAILED)):
        await house.database.jobs.store_job(job(name, state=state, at=now_ms()), 0)
    runs = job("runs", state=State.PROCESSING, at=now_ms(), attempt=1, tries=1, worker_id="w-1")
    await house.database.jobs.store_job(runs, 0)
    assert await house.database.endpoints.store_endpoint(CAPTIONS, 0)
    await house.database.access.store_api_key(ADAS_KEY)
    beat = WorkerBeat(
        pool="mochi-1",
        worker_id="w-1",
        session="s-1",
        kind=WorkerKind.NATIVE,
        state=WorkerState.READY,
        sequence=1,
        engine="tiny",
    )
    await house.log.append(encode(beat, source="/test", at=now_ms()))
    cancel = encode(CancelJob(command_id="c-1", user_id="ada", job_id="waits", run=1), source="/test", at=now_ms())
    record = Record(cancel.topic, 0, 0, now_ms(), cancel.key, cancel.value, cancel.headers)
    await house.log.append(dead_letter(record, "ledger", CannotProcess("of no use")), partition=0)
    for name, state in (
        ("r-planned", ReplayState.PLANNED),
        ("r-runs", ReplayState.RUNNING),
        ("r-waits", ReplayState.PAUSED),
    ):
        await house.database.replays.store_replay(replay(name, state), 0)


def replay(replay_id: str, state: ReplayState) -> ReplayPlan:
    return ReplayPlan(
        replay_id=replay_id,
        version=1,
        state=state,
        created_at=now_ms(),
        updated_at=now_ms(),
        source="openv.events",
        target="openv.commands",
        asked={"source": "openv.events", "--into": "openv.commands", "--max-replays": "5"},
        asked_digest="a",
        digest="d",
        spans=(),
        in_scope=1,
        report="{}",
    )


CAPTIONS = new_endpoint("captions", Wishes(external=True), now_ms())
ADAS_KEY = new_key("ada", now=now_ms())[1]
# How each changing route is asked, by its name: what stands in its path, and its body.
ASKED: dict[str, tuple[dict[str, str], Any]] = {
    "requeueJob": ({"job_id": "failed"}, {"reason": "after the fix"}),
    "killJob": ({"job_id": "runs"}, {"final": True, "reason": "hangs"}),
    "cancelJob": ({"job_id": "waits"}, {"reason": "asked by mail"}),
    "deleteJob": ({"job_id": "failed"}, {}),
    "drainWorker": ({"worker_id": "w-1"}, {"now": True}),
    "setRole": ({"user_id": "ada"}, {"role": "restricted", "reason": "moved on"}),
    "setLimits": ({"user_id": "ada"}, {"seconds": 1200, "maxActive": 5}),
    "blockUser": ({"user_id": "ada"}, {"reason": "unpaid"}),
    "unblockUser": ({"user_id": "ada"}, {}),
    "grantCredits": ({"user_id": "ada"}, {"id": "order-1", "credits": 50, "reason": "order"}),
    "redriveDeadLetters": ({}, {"letters": ["0:0"], "execute": True, "reason": "fixed"}),
    "discardDeadLetters": (
        {},
        {"users": ["ada"], "execute": True, "expect": f"1-9-{0:016x}", "reason": "nobody waits for them"},
    ),
    "editDeadLetter": (
        {"place": "0:0"},
        {"value": {"commandId": "c-1", "userId": "ada", "jobId": "failed", "run": 1}, "reason": "the right one"},
    ),
    "planReplay": ({}, {"source": "deadletter", "into": "commands", "from": "2h", "types": ["submit.v1"]}),
    "executeReplay": ({"replay_id": "r-planned"}, {"digest": "d", "rate": 100, "canary": 10}),
    "continueReplay": ({"replay_id": "r-waits"}, {}),
    "pauseReplay": ({"replay_id": "r-runs"}, {}),
    "cancelReplay": ({"replay_id": "r-planned"}, {}),
    "runDoctor": ({}, {"only": ["kafka"]}),
    "repair": ({}, {"only": ["topics"]}),
    "makeBackup": ({}, {}),
    "resetUser": ({"user_id": "ada"}, {"expect": "0" * 16, "reason": "damaged beyond what events tell"}),
    "deleteUser": ({"user_id": "ada"}, {"reason": "asked to"}),
    "createKey": ({"user_id": "ada"}, {"name": "dashboard", "scopes": ["read"], "expiresDays": 90, "reason": "asked"}),
    "revokeKey": ({"user_id": "ada", "prefix": ADAS_KEY.prefix}, {"reason": "lost"}),
    "createEndpoint": ({}, {"endpointId": "clips", "webhookSecret": "generate", "reason": "a new one"}),
    "updateEndpoint": ({"endpoint_id": "captions"}, {"webhookSecret": SIGNING, "users": None, "reason": "open"}),
    "deleteEndpoint": ({"endpoint_id": "captions"}, {"reason": "unused"}),
    "createWorkerKey": ({"endpoint_id": "captions"}, {"url": "https://openv.example.org", "reason": "new machine"}),
}
# What reads more of a topic than the memory twin offers is asked of the process (test_process.py).
WANTS_SERVERS = {"listDeadLetters"}


async def ask(client: httpx.AsyncClient, row: Operation, names: dict[str, str], body: Any = None) -> httpx.Response:
    path = row.path.format(**names)
    return await client.request(row.method.upper(), path, json=body)


def test_every_changing_route_is_asked_here() -> None:
    assert {row.name for row in CHANGING} == ASKED.keys()
    assert not any(row.path.startswith("/audit") for row in CHANGING), "the audit is for reading"


@pytest.mark.parametrize("row", [row for row in CHANGING if row.name in ASKED], ids=lambda row: row.name)
async def test_a_change_has_two_entries(house: House, row: Operation) -> None:
    names, body = ASKED[row.name]
    async with house.admin() as admin:
        answer = await ask(admin, row, names, body)
    assert answer.status_code in row.statuses, answer.text
    begun, ended = house.audit()
    assert (begun.stage, ended.stage) == (AuditStage.BEGUN, AuditStage.DONE)
    assert begun.action_id == ended.action_id
    for entry in (begun, ended):
        assert entry.action == row.action
        assert entry.via == "api"
        assert entry.actor.startswith("root/ov_")
        assert len(entry.actor) == len("root/ov_") + 6, "the user and the key's first characters, no more of it"
        assert entry.address == "192.0.2.7"
        assert entry.reason == body.get("reason", "")
    said = json.dumps([record.value.decode() for record in house.log.records(AUDIT.name)])
    assert SECRET_PROMPT not in said
    assert not any(secret in said for secret in secrets_in(answer.json(), body))
    assert admin.headers["Authorization"].removeprefix("Bearer ") not in said


def secrets_in(answer: Any, body: Any) -> list[str]:
    """All that look like a key or a webhook's secret."""
    return re.findall(r"ov_[\w-]{20,}|whsec_[\w+/=]+", json.dumps([answer, body]))


@pytest.mark.parametrize("row", [row for row in CHANGING if row.name in ASKED], ids=lambda row: row.name)
async def test_what_can_not_be_recorded_is_not_done(house: House, row: Operation) -> None:
    names, body = ASKED[row.name]
    real = house.log.append

    async def append(message: Any, **how: Any) -> Any:
        if message.topic == AUDIT.name:
            house.log.away = True
        try:
            return await real(message, **how)
        finally:
            house.log.away = False

    before = len(house.log.records(COMMANDS.name)), len(house.log.records(DISPATCH.name))
    letter = await house.database.dispositions.dispositions(["0:0"])
    house.log.append = append  # type: ignore[method-assign]
    async with house.admin() as admin:
        answer = await ask(admin, row, names, body)
    assert answer.status_code == 503
    assert answer.json()["missing"] == ["kafka"]
    assert (len(house.log.records(COMMANDS.name)), len(house.log.records(DISPATCH.name))) == before
    assert await house.database.works.works(limit=1) == []
    assert await house.database.dispositions.dispositions(["0:0"]) == letter == {}
    assert [one for one in await house.database.endpoints.endpoints() if one.version] == [CAPTIONS]
    assert await house.database.access.api_keys("ada") == [ADAS_KEY]
    assert await house.database.access.api_keys("endpoint:captions") == []
    assert {one.state for one in await house.database.replays.replays()} == {"planned", "running", "paused"}
    assert house.audit() == []


async def test_a_failed_action_says_so(house: House) -> None:
    real = house.log.append

    async def append(message: Any, **how: Any) -> Any:
        house.log.away = message.topic == COMMANDS.name
        try:
            return await real(message, **how)
        finally:
            house.log.away = False

    house.log.append = append  # type: ignore[method-assign]
    async with house.admin() as admin:
        answer = await admin.post("/jobs/waits/cancel")
    assert answer.status_code == 503, "it may have been recorded: nobody knows"
    assert answer.json()["code"] == "not_decided"
    begun, ended = house.audit()
    assert (begun.stage, ended.stage) == (AuditStage.BEGUN, AuditStage.FAILED)
    assert ended.detail is not None
    assert "kafka" in ended.detail["error"]


async def test_what_is_recorded_and_not_decided_is_202(house: House) -> None:
    house.ledger.silent = True
    async with house.admin() as admin:
        answer = await admin.post("/jobs/waits/cancel", json={})
    assert answer.status_code == 202
    assert answer.json()["decided"] is False
    assert [entry.stage for entry in house.audit()] == [AuditStage.BEGUN, AuditStage.DONE]


async def test_what_is_not_possible_is_refused_and_changes_nothing(house: House) -> None:
    async with house.admin() as admin:
        answer = await admin.post("/jobs/waits/kill", json={"final": True})
        assert answer.status_code == 409
        assert answer.json()["code"] == "refused"
        assert answer.json()["job"]["state"] == "queued"
        assert (await admin.post("/jobs/none/kill")).status_code == 404
    assert house.audit() == []


async def test_a_killed_attempt_is_told_of_once_the_ledger_has_ended_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ANSWER_WITHIN_S", 60.0)

    async def reports() -> list[AttemptReport]:
        return [one for one in house.ledger.heard if isinstance(one, AttemptReport)]

    async def decided() -> None:
        runs = await house.database.jobs.job("runs")
        assert runs is not None
        (told,) = await reports()
        assert (told.job_id, told.attempt, told.worker_id) == ("runs", 1, "w-1")
        ended = EarlierAttempt(attempt=1, worker_id="w-1", end=AttemptEnd.LOST)
        after = replace(runs, version=2, state=State.QUEUED, attempt=2, worker_id=None, earlier_attempts=(ended,))
        assert await house.database.jobs.store_job(after, 1)
        await house.log.append(encode(JobEvent(after), source="/test", at=now_ms()))

    async with house.admin() as admin:
        asking = asyncio.create_task(admin.post("/jobs/runs/kill", json={"reason": "hangs"}))
        await eventually(reports)
        await decided()
        answer = await asking
        assert (answer.status_code, answer.json()["done"]) == (200, True), answer.text
        assert SECRET_PROMPT not in answer.text
    begun, ended = house.audit()
    assert (begun.action, begun.target, begun.reason, ended.stage) == ("jobs.kill", "runs", "hangs", AuditStage.DONE)
    assert begun.detail is not None
    assert ended.detail is not None
    assert (begun.detail["worker"], ended.detail["outcome"], ended.detail["state"]) == ("w-1", "done", "queued")


async def test_two_who_drain_the_same_worker_both_hear_of_it(house: House) -> None:
    async with house.admin() as one, house.admin() as other:
        answers = await asyncio.gather(*(admin.post("/workers/w-1/drain") for admin in (one, other)))
    assert [answer.status_code for answer in answers] == [202, 202], "no scheduler runs here"
    entries = house.audit()
    assert len(entries) == 4
    assert len({entry.action_id for entry in entries}) == 2


async def test_reading_writes_nothing(house: House) -> None:
    names = {"job_id": "waits", "worker_id": "w-1", "endpoint_id": "mochi-1", "user_id": "ada", "place": "0:0"}
    assert {row.name for row in READING} >= WANTS_SERVERS
    async with house.admin() as admin:
        for row in READING:
            if row.name in WANTS_SERVERS:
                continue
            known = row.path.format_map(_Names(names))
            answer = await admin.get(known)
            assert answer.status_code in (*row.statuses, 404), (row.name, answer.text)
            assert SECRET_PROMPT not in answer.text, row.name
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                if not any(one.path == row.path and one.method == method.lower() for one in OPERATIONS):
                    refused = await admin.request(method, known)
                    assert refused.status_code == 405, (method, row.path)
    assert house.audit() == []


# What the routes that show users' words on demand are asked for, and which words those are.
WORDS = {
    "getJob": ({"job_id": "waits"}, "prompt of waits"),
    "getJobTimeline": ({"job_id": "waits"}, "prompt of waits"),
    "getDeadLetter": ({"place": "0:0"}, '\\"jobId\\"'),
}
SHOWING = [row for row in READING if row.action is not None]


def test_every_route_that_shows_users_words_is_asked_here() -> None:
    assert {row.name for row in SHOWING} == WORDS.keys()
    flags = [row.name for row in READING if {"prompt", "value"} & row.query.model_fields.keys()]
    assert {*flags} == WORDS.keys()


@pytest.mark.parametrize("row", SHOWING, ids=lambda row: row.name)
async def test_who_reads_users_words_is_recorded_before_they_are_shown(house: House, row: Operation) -> None:
    names, words = WORDS[row.name]
    path, asked = row.path.format(**names), {str(row.audited_if): "true"}
    async with house.admin() as admin:
        assert (await admin.get(path, params={str(row.audited_if): "false"})).status_code == 200
        nobodys = row.path.format_map(dict.fromkeys(names, "1:9" if "place" in names else "none"))
        assert (await admin.get(nobodys, params=asked)).status_code == 404
        assert house.audit() == []
        answer = await admin.get(path, params=asked)
        assert answer.status_code == 200
        assert words in answer.text
        begun, ended = house.audit()
        assert (begun.stage, ended.stage) == (AuditStage.BEGUN, AuditStage.DONE)
        assert (begun.action, begun.target) == (row.action, next(iter(names.values())))
        assert begun.actor.startswith("root/ov_")
        assert words not in json.dumps([record.value.decode() for record in house.log.records(AUDIT.name)])


@pytest.mark.parametrize("row", SHOWING, ids=lambda row: row.name)
async def test_users_words_are_not_shown_where_that_cant_be_recorded(house: House, row: Operation) -> None:
    names, words = WORDS[row.name]
    real = house.log.append

    async def append(message: Any, **how: Any) -> Any:
        house.log.away = message.topic == AUDIT.name
        try:
            return await real(message, **how)
        finally:
            house.log.away = False

    house.log.append = append  # type: ignore[method-assign]
    async with house.admin() as admin:
        answer = await admin.get(row.path.format(**names), params={str(row.audited_if): "true"})
    assert answer.status_code == 503
    assert answer.json()["missing"] == ["kafka"]
    assert words not in answer.text
    assert house.audit() == []


@pytest.mark.parametrize(
    "changed",
    [{"audited_if": None}, {"action": None}, {"audited_if": "limit"}, {"audited_if": "none"}, {"method": "post"}],
    ids=str,
)
def test_a_row_says_when_it_is_audited(changed: dict[str, Any]) -> None:
    (row,) = (one for one in OPERATIONS if one.name == "getJob")
    with pytest.raises(ValueError, match="getJob"):
        replace(row, **changed)


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "none"
