"""Kafka away: who asks is told in time, what was not recorded never counts, and nobody has to be restarted.

A broker that is killed refuses; one that is frozen takes requests in and carries them out when it wakes up, which is
how a command lands after its sender was told that it did not.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from schemas.api.live import may_reconnect
from schemas.codec import Unreadable, decode
from schemas.commands import RetryJob, SubmitJob
from schemas.dispatch import JobMoved
from schemas.events import CommandAnswered, JobEvent, Outcome
from schemas.failures import FailureCode
from schemas.ids import job_id_of_key
from schemas.lifecycle import State
from schemas.requests import FPS
from schemas.topics import COMMANDS, DISPATCH, EVENTS
from tests.gateway.sockets import socket
from tests.outages.kafka_world import User, World, sailing
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id

# The first test also waits for the servers to start, on a machine that may be busy with other things.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

# A refusal is promised within 3 s. The rest is for a machine that is busy with other things; a gateway that waited for
# the broker, or for its client's own patience of 5 s and its retries, would need longer than both.
PROMISED_S = 3.0
NOISE_S = 5.0
BODY = {"prompt": "a corgi surfing", "num_frames": 7}


@pytest.fixture(scope="module")
async def world(servers: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with sailing(servers, tmp_path_factory.mktemp("kafka_away")) as made:
        yield made


def away(world: World, how: str) -> AbstractAsyncContextManager[None]:
    @asynccontextmanager
    async def frozen() -> AsyncIterator[None]:
        with world.broker.frozen():
            yield

    return world.broker.gone() if how == "killed" else frozen()


async def in_time(answering: Any) -> httpx.Response:
    async with asyncio.timeout(PROMISED_S + NOISE_S):
        answer: httpx.Response = await answering
    return answer


def check_not_recorded(answer: httpx.Response, job_id: str) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["jobId"] == job_id
    assert "repeat it with the same Idempotency-Key" in answer.json()["error"]


async def cancelled(user: User) -> str:
    """A job of the user that was cancelled, so that it may be tried again."""
    job_id: str = (await user.submit())["jobId"]

    async def cancel() -> bool:
        answer = await user.http.post(f"/api/runpod/{job_id}/cancel")
        return answer.status_code == 200 and answer.json()["state"] == "cancelled"

    await eventually(cancel, 90, what="the job cancelled")
    return job_id


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_whoever_asks_is_told_in_time_and_all_goes_on_when_it_is_back(world: World, how: str) -> None:
    processes = [one.process for one in (world.gateway, world.streams)]
    async with world.user() as user, world.watching(user) as live:
        ended, waiting, key = await cancelled(user), (await user.submit())["jobId"], new_id()
        await live.until(lambda frame: frame["type"] == "event" and frame["data"]["jobId"] == waiting)
        made = job_id_of_key(user.user_id, key)
        writes = [
            (made, lambda: user.http.post("/api/runpod", json=BODY, headers={"Idempotency-Key": key})),
            (ended, lambda: user.http.post(f"/api/runpod/{ended}/retry")),
            (waiting, lambda: user.http.post(f"/api/runpod/{waiting}/cancel")),
            (waiting, lambda: user.http.request("DELETE", "/api/videos", json={"jobIds": [waiting]})),
        ]
        async with away(world, how):
            # At first the gateway has not noticed, and must find out with each of these; then it knows.
            for answer, job_id in zip(
                await asyncio.gather(*(in_time(ask()) for _, ask in writes)), [job for job, _ in writes], strict=True
            ):
                check_not_recorded(answer, job_id)
            assert (await world.says_ready(503))["missing"] == ["kafka"]
            for job_id, ask in writes:
                check_not_recorded(await in_time(ask()), job_id)
            assert (await in_time(user.http.get("/api/usage"))).json()["missing"] == ["kafka"]
            await check_reads(world, user, waiting)
            await live.send(type="ping")
            await live.until(lambda frame: frame["type"] == "pong")
            await check_new_socket(world, user)
        await world.says_ready()
        again = await user.submit(key, **BODY)
        assert again["jobId"] == made
        await live.until(lambda frame: frame["type"] == "event" and frame["data"]["jobId"] == made)

        async def deleted() -> bool:
            answer = await user.http.request("DELETE", "/api/videos", json={"jobIds": [waiting]})
            return answer.status_code == 200

        await eventually(deleted, 90, what="the deletion decided")
        assert (await user.http.get(f"/api/runpod/{waiting}")).status_code == 404
        assert (await user.http.get(f"/api/runpod/{ended}")).json()["state"] == "cancelled"
        assert await world.queued(user.user_id) == [made]
    assert [one.process for one in (world.gateway, world.streams)] == processes
    assert [one.poll() for one in processes] == [None, None]


async def check_reads(world: World, user: User, job_id: str) -> None:
    """What MongoDB knows is told as ever."""
    row = await in_time(user.http.get(f"/api/runpod/{job_id}"))
    assert (row.status_code, row.json()["state"]) == (200, "queued")
    listed = await in_time(user.http.get("/api/videos"))
    assert job_id in [one["jobId"] for one in listed.json()]
    assert (await in_time(user.http.get("/healthz"))).status_code == 200
    not_ready = await in_time(user.http.get("/readyz"))
    assert (not_ready.status_code, not_ready.json()["ready"]) == (503, False)
    assert "retry-after" in not_ready.headers


async def check_new_socket(world: World, user: User) -> None:
    """It is shown the jobs as they are, or asked to come again."""
    async with socket(world.gateway.address, user.key, subscribe={}) as other:
        first = asyncio.create_task(other.receive())
        await asyncio.wait([first])
        if first.exception() is None:
            assert first.result()["type"] == "snapshot"
        else:
            assert may_reconnect(await other.closed())


async def test_what_lands_too_late_is_refused_and_its_repetition_counts_once(world: World) -> None:
    async with world.user() as user:
        ended, key = await cancelled(user), new_id()
        made = job_id_of_key(user.user_id, key)
        events, dispatch, commands = [await world.log.ends(one.name) for one in (EVENTS, DISPATCH, COMMANDS)]
        with world.broker.frozen():
            submitting = user.http.post("/api/runpod", json=BODY, headers={"Idempotency-Key": key})
            retrying = user.http.post(f"/api/runpod/{ended}/retry")
            for answer, job_id in zip(
                await asyncio.gather(in_time(submitting), in_time(retrying)), (made, ended), strict=True
            ):
                check_not_recorded(answer, job_id)

        late = await landed(world, commands, 2)
        assert sorted(type(one).__name__ for one, _ in late) == ["RetryJob", "SubmitJob"]
        assert all(timestamp > one.append_by for one, timestamp in late), "else nothing is shown here"
        answers = await answered(world, events, late)
        assert {(one.outcome, one.code) for one in answers} == {(Outcome.REFUSED, FailureCode.TOO_LATE)}
        assert await world.store.job(made) is None
        job = await world.store.job(ended)
        assert job is not None
        assert (job.state, job.run) == (State.CANCELLED, 1)
        moved = await told(world, DISPATCH.name, dispatch, JobMoved, made, ended)
        assert {(one.job_id, one.run, one.state) for one in moved} <= {(ended, 1, State.CANCELLED)}
        assert (await usage(user))["usedSeconds"] == 0

        for _ in range(2):
            assert (await user.submit(key, **BODY))["jobId"] == made
        standing = await usage(user)
        assert (standing["active"], standing["usedSeconds"]) == (1, pytest.approx(BODY["num_frames"] / FPS, abs=0.005))
        assert await world.queued(user.user_id) == [made]
        seen = await told(world, EVENTS.name, events, JobEvent, made)
        assert {(one.job.version, one.job.state) for one in seen} == {(1, State.QUEUED)}


async def landed(world: World, since: Mapping[int, int], count: int) -> list[tuple[SubmitJob | RetryJob, int]]:
    """The late commands with the broker's time, once there are so many."""

    async def look() -> list[tuple[SubmitJob | RetryJob, int]]:
        found = [(decode(record), record.timestamp) for record in await world.records(COMMANDS.name, since)]
        mine = [(one, at) for one, at in found if isinstance(one, SubmitJob | RetryJob)]
        return mine if len(mine) >= count else []

    return await eventually(look, 60, what="the commands in the log, late")


async def answered(
    world: World, since: Mapping[int, int], commands: list[tuple[SubmitJob | RetryJob, int]]
) -> list[CommandAnswered]:
    """The ledger's answers to them."""
    wanted = {command.command_id for command, _ in commands}

    async def look() -> list[CommandAnswered]:
        messages = [decode(record) for record in await world.records(EVENTS.name, since)]
        answers = {one.command_id: one for one in messages if isinstance(one, CommandAnswered)}
        return [answers[one] for one in wanted] if wanted <= answers.keys() else []

    return await eventually(look, 60, what="the answers to the late commands")


async def told(world: World, topic: str, since: Mapping[int, int], kind: type, *job_ids: str) -> list[Any]:
    """What was said about these jobs since then."""
    messages: list[Any] = [decode(record) for record in await world.records(topic, since)]
    assert not [one for one in messages if isinstance(one, Unreadable)]
    return [one for one in messages if isinstance(one, kind) and one.subject in job_ids]


async def usage(user: User) -> dict[str, Any]:
    """What the ledger says the user has used."""

    async def ask() -> dict[str, Any] | None:
        answer = await user.http.get("/api/usage")
        return dict(answer.json()) if answer.status_code == 200 else None

    found = await eventually(ask, 60, what="the ledger's sums")
    assert found is not None
    return found
