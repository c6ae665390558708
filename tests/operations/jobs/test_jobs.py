"""``openv jobs`` and ``openv workers`` on real servers, with streams and a worker that run."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from schemas.deliveries import Endpoint, Hooks, WebhookEvent
from schemas.jobs import AttemptEnd, ChargeState
from schemas.lifecycle import State
from tests.operations.jobs.stage import Stage, new_user, staged
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
async def stage(
    servers: dict[str, str],
    database: str,
    kafka_log: KafkaEventLog,
    mongo: MongoDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stage]:
    async with staged(servers, database, kafka_log, mongo, tmp_path_factory.mktemp("stage")) as made:
        yield made


async def listening(stage: Stage, user: str) -> str:
    """A user with a webhook endpoint; its id."""
    endpoint = Endpoint(
        endpoint_id=new_id("wh_"),
        url=stage.receiver.url("/hook"),
        listens=dict.fromkeys(WebhookEvent, 0),
        secret="whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQ=",
        created_at=1,
        updated_at=1,
    )
    assert await stage.desk.database.deliveries.store_hooks(Hooks(user_id=user, version=1, endpoints=(endpoint,)), 0)
    return endpoint.endpoint_id


def places(steps: list[dict[str, Any]], *sequence: tuple[str, str]) -> None:
    """The steps hold this sequence of (kind, what), in order, others between them."""
    rest = iter((step["kind"], step["what"]) for step in steps)
    for wanted in sequence:
        assert any(one == wanted for one in rest), (wanted, [(one["kind"], one["what"]) for one in steps])


async def test_a_job_that_was_killed_requeued_cancelled_and_retried_tells_its_whole_life(stage: Stage) -> None:
    user, mark = new_user(), uuid.uuid4().hex
    endpoint = await listening(stage, user)
    job_id = await stage.submit(user, mark)
    await stage.until(job_id, State.PROCESSING, 1)
    assert "Attempt 1 is given up" in await stage.done("jobs", "kill", job_id, "--reason", "hangs")
    await stage.until(job_id, State.PROCESSING, 2)
    assert "Attempt 2 is handed back" in await stage.done("jobs", "requeue", job_id)
    third = await stage.until(job_id, State.PROCESSING, 3)
    assert [(one.attempt, one.end) for one in third.earlier_attempts] == [
        (1, AttemptEnd.LOST),
        (2, AttemptEnd.HANDED_BACK),
    ]
    assert third.tries == 2, "to kill costs a try, to requeue none"
    assert "it is cancelled" in await stage.done("jobs", "cancel", job_id)
    assert "Nothing to do" in await stage.done("jobs", "cancel", job_id)
    assert "it waits as attempt 4" in await stage.done("jobs", "requeue", job_id)
    await stage.until(job_id, State.PROCESSING, 4)
    (stage.folder / mark).touch()
    done = await stage.until(job_id, State.COMPLETED, 4)
    assert (done.run, done.charge.state, done.winning_attempt) == (2, ChargeState.CAPTURED, 4)
    assert all(charge.state is ChargeState.REFUNDED for charge in done.earlier_charges), "charged once"
    result = await stage.openv("jobs", "requeue", job_id)
    assert (result.exit_code, "completed" in result.output) == (1, True)

    async def told() -> bool:
        found = await stage.desk.database.deliveries.of_job(job_id)
        return len(found) == 2 and all(one.state == "succeeded" for one in found)

    await eventually(told, what="both webhooks delivered")
    life = await stage.told("jobs", "show", job_id)
    steps = life["timeline"]
    places(
        steps,
        ("command", "submit"),
        ("event", "queued"),
        ("order", "run"),
        ("command", "started"),
        ("event", "processing"),
        ("audit", "jobs.kill begun"),
        ("command", "lost"),
        ("event", "queued"),
        ("order", "stop"),
        ("order", "run"),
        ("event", "processing"),
        ("command", "handed back"),
        ("event", "queued"),
        ("event", "processing"),
        ("command", "cancel"),
        ("event", "cancelled"),
        ("answer", "done"),
        ("command", "retry"),
        ("event", "queued"),
        ("answer", "admitted"),
        ("event", "processing"),
        ("command", "succeeded"),
        ("event", "completed"),
        ("delivery", "try"),
    )
    assert [step["at"] for step in steps] == sorted(step["at"] for step in steps)
    assert all("lastedMs" in step for step in steps if step["what"] in ("submit", "cancel", "retry"))
    versions = [
        step["id"] for step in steps if step["kind"] == "event" and ":" in step["id"] and "discarded" not in step["id"]
    ]
    assert list(dict.fromkeys(versions)) == [f"{job_id}:{version}" for version in range(1, done.version + 1)]
    assert [(one["attempt"], one["end"]) for one in life["attempts"]] == [
        (1, "lost"),
        (2, "handed_back"),
        (3, "stopped"),
        (4, "delivered"),
    ]
    assert {one["endpointId"] for one in life["deliveries"]} == {endpoint}
    named = [one for one in life["files"] if one["named"]]
    assert len(named) == 3
    assert all(one["present"] and one["bytes"] for one in named)
    assert life["gaps"] == [], life["gaps"]
    text = await stage.done("jobs", "show", job_id)
    assert mark not in text + str(life), "what its user wrote is shown on demand alone"
    assert mark in await stage.done("jobs", "show", job_id, "--show-prompt")
    steps = (await stage.told("jobs", "show", job_id))["timeline"]
    assert sum(step["what"] == "jobs.read-words begun" for step in steps) == 1


async def test_what_no_try_is_left_for_fails_and_is_not_charged(stage: Stage) -> None:
    user, mark = new_user(), uuid.uuid4().hex
    last = await stage.submit(user, mark, max_retries=0)
    await stage.until(last, State.PROCESSING, 1)
    assert "it is failed, worker_lost" in await stage.done("jobs", "kill", last)
    (stage.folder / mark).touch()  # what its worker delivers is too late
    final = await stage.submit(user, uuid.uuid4().hex)
    await stage.until(final, State.PROCESSING, 1)
    assert (await stage.until(last, State.FAILED, 1)).output is None
    busy = (await stage.told("workers", "show", stage.worker.identity.worker_id))["job"]
    assert (busy["jobId"], "prompt" in busy["request"]) == (final, False)
    assert "Attempt 1 is ended for good" in await stage.done("jobs", "kill", final, "--final", "--reason", "error 500")
    failed = await stage.until(final, State.FAILED, 1)
    assert (failed.charge.state, failed.tries) == (ChargeState.REFUNDED, 1)
    assert failed.failure is not None
    assert failed.failure.message == "error 500", "no text makes it another kind of failure"
    refused = await stage.openv("jobs", "kill", final)
    assert (refused.exit_code, "can't be done to a job that is failed" in refused.output) == (1, True)
    assert (await stage.told("users", "show", user))["standing"]["usedSeconds"] == 0

    await stage.done("users", "block", user, "--reason", "unpaid")
    refused = await stage.openv("jobs", "requeue", final)
    assert refused.exit_code == 1
    assert "The ledger refused: This account may not make videos (account_blocked" in refused.output
    known = await stage.told("users", "show", user)
    assert (known["jobs"], known["account"]["blocked"]) == ({"failed": 2}, True)
    rows = (await stage.told("users", "list", "--blocked", "--usage", "--limit", "1000"))["users"]
    assert [row["standing"]["usedSeconds"] for row in rows if row["userId"] == user] == [0]
    listed = await stage.told("users", "list", "--not-blocked", "--limit", "1000")
    assert user not in [row["userId"] for row in listed["users"]]
    kinds = [entry["action"] for entry in await stage.told("audit", "list", "--target", user)]
    assert kinds == ["users.block"] * 2


async def test_many_are_found_by_filter_looked_at_first_and_then_changed(stage: Stage) -> None:
    users = [new_user(), new_user()]
    held = await stage.submit(users[0], uuid.uuid4().hex)
    await stage.until(held, State.PROCESSING, 1)
    waiting = [await stage.submit(users[0], uuid.uuid4().hex) for _ in range(3)]
    other = await stage.submit(users[1], uuid.uuid4().hex, endpoint="e-1", limits=None)
    for job_id in (*waiting, other):
        await stage.until(job_id, State.QUEUED, 1)

    async def ids(*words: str) -> list[str]:
        return [job["jobId"] for job in (await stage.told("jobs", "list", *words))["jobs"]]

    assert (await ids("--pool", stage.pool))[:5] == [other, *reversed(waiting), held]
    assert await ids("--user", users[0], "--state", "queued") == waiting[::-1]
    assert await ids("--endpoint", "e-1", "--user", users[1], "--since", "1h") == [other]
    page = await stage.told("jobs", "list", "--user", users[0], "--limit", "2")
    rest = await stage.told("jobs", "list", "--user", users[0], "--limit", "2", "--after", page["after"])
    assert [job["jobId"] for job in (*page["jobs"], *rest["jobs"])] == [*waiting[::-1], held]
    assert rest["after"] is None
    table = await stage.done("jobs", "list", "--user", users[1])
    assert other in table

    (pool,) = [one for one in await stage.told("workers", "pools") if one["pool"] == stage.pool]
    assert (pool["waiting"], pool["running"], pool["workers"]["busy"]) == (4, 1, 1)
    looked = await stage.told("jobs", "cancel", "--user", users[0])
    assert (looked["dryRun"], [one["does"] for one in looked["jobs"]]) == (True, [True] * 4)
    assert await ids("--user", users[0], "--state", "cancelled") == []
    said = await stage.done("jobs", "cancel", "--user", users[0], "--state", "queued", "--execute")
    assert "3 of 3: done." in said
    piped = f"{held} a word\n{other}\n{held}\nno-such-job\n"
    looked = await stage.told("jobs", "cancel", "-", stdin=piped)
    assert [(one["jobId"], one["does"]) for one in looked["jobs"]] == [
        (held, True),
        (other, True),
        ("no-such-job", False),
    ]
    came = await stage.openv("jobs", "cancel", "-", "--execute", "--json", stdin=piped)
    assert came.exit_code == 0, came.output
    assert await ids("--user", users[0], "--state", "cancelled") == [*waiting[::-1], held]
    assert "it is deleted" in await stage.done("jobs", "delete", held, "--yes")
    assert await ids("--user", users[0], "--state", "deleted") == [held]


async def test_a_drained_worker_hands_back_what_it_runs_and_goes(stage: Stage) -> None:
    """The last of this module: nobody works afterwards."""
    name = stage.worker.identity.worker_id
    (idle,) = await stage.told("workers", "list", "--pool", stage.pool)
    assert (idle["workerId"], idle["engine"], idle["session"]) == (name, "staged", stage.worker.identity.session)
    job_id = await stage.submit(new_user(), uuid.uuid4().hex)
    await stage.until(job_id, State.PROCESSING, 1)
    assert f"{name} is gone." in await stage.done("workers", "drain", name, "--now", "--wait", "--reason", "new GPU")
    assert await stage.worker.ended() == 0
    back = await stage.until(job_id, State.QUEUED, 2)
    assert (back.tries, back.earlier_attempts[0].end) == (1, AttemptEnd.HANDED_BACK)
    assert await stage.told("workers", "list", "--pool", stage.pool) == []
    assert [one["state"] for one in await stage.told("workers", "list", "--pool", stage.pool, "--all")] == ["gone"]
    assert "gone already" in await stage.done("workers", "drain", name)
    missing = await stage.openv("workers", "drain", "nobody")
    assert (missing.exit_code, "No worker nobody was heard" in missing.output) == (1, True)
    entries = await stage.told("audit", "list", "--target", name)
    assert "workers.drain" in str(entries)
