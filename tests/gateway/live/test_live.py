"""The WebSocket over a real server: auth, snapshot, resume, progress, limits, and that nobody sees another's events."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.inputs import Event
from gateway.core.subscription import event_frame
from gateway.core.window import Cursor, Entry, Happened
from repo.clock import now_ms
from schemas.codec import encode
from schemas.events import JobEvent
from schemas.lifecycle import State
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress
from schemas.topics import EVENTS
from tests.gateway.sockets import serving, socket
from tests.gateway.world import World, job, settings, started

IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(40)]


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


def is_type(*types: str) -> Any:
    return lambda frame: frame["type"] in types


def is_event(job_id: str, state: State) -> Any:
    return lambda frame: (
        frame["type"] == "event" and (frame["data"]["jobId"], frame["data"]["state"]) == (job_id, state)
    )


async def progress(world: World, step: int, job_id: str = IDS[0], user_id: str = "ada", attempt: int = 1) -> None:
    message = AttemptProgress(
        user_id=user_id, job_id=job_id, sequence=step, attempt=attempt, worker_id="w:1", phase=Phase.DENOISE,
        step=step, steps=10, fraction=step / 10, elapsed_ms=step,
    )  # fmt: skip
    await world.log.append(encode(message, source="/test", at=now_ms()))


async def test_auth_snapshot_events(world: World, address: str) -> None:
    await world.ledger.write(job(IDS[0], state=State.COMPLETED))
    await world.ledger.write(job(IDS[1], "bob"))
    async with socket(address) as client:
        await client.send(type="auth", token=await world.key())
        assert await client.receive() == {"type": "welcome", "userId": "ada", "heartbeatMs": 20_000}
        await client.send(type="subscribe")
        snapshot = await client.receive()
        assert (snapshot["type"], snapshot["recovered"]) == ("snapshot", False)
        assert [one["jobId"] for one in snapshot["jobs"]] == [IDS[0]]
        made = job(IDS[2], at=now_ms())
        await world.ledger.write(made)
        event = await client.receive()
        assert event["event"] == "dev.openv.job.queued.v1"
        assert event["data"]["prompt"] == made.request.prompt
        stored = next(record for record in world.log.records(EVENTS.name) if record.header("ce_subject") == IDS[2])
        assert event["data"] == json.loads(stored.value)
        assert event["position"].startswith(f"{stored.partition}:{stored.offset}:")


async def test_a_job_asked_for_over_http_is_seen_from_queued_to_the_end(world: World, address: str) -> None:
    async with socket(address, await world.key(), subscribe={}) as client, world.client() as http:
        await client.until(is_type("snapshot"))
        row = (await http.post("/api/runpod", json={"prompt": "a"})).json()
        await client.until(is_event(row["jobId"], State.QUEUED))
        await http.post(f"/api/runpod/{row['jobId']}/cancel")
        await client.until(is_event(row["jobId"], State.CANCELLED))


async def test_a_resumed_socket_sees_each_missed_event_once_and_in_order(world: World, address: str) -> None:
    key = await world.key()
    async with socket(address, key, subscribe={}) as client:
        await client.until(is_type("snapshot"))
        await world.ledger.write(job(IDS[0]))
        position = (await client.until(is_event(IDS[0], State.QUEUED)))[-1]["position"]
    for n in range(1, 6):
        await world.ledger.write(job(IDS[n]))
        await world.ledger.write(job(IDS[20 + n], "bob"))
    async with socket(address, key, subscribe={"position": position}) as client:
        frames = await client.until(is_event(IDS[5], State.QUEUED))
        await world.ledger.write(job(IDS[6]))
        frames += await client.until(is_event(IDS[6], State.QUEUED))
    assert frames[0] == {"type": "resumed", "recovered": True}
    assert [frame["data"]["jobId"] for frame in frames[1:]] == IDS[1:7]


async def test_another_gateway_resumes_the_same_position_even_if_it_lags(world: World, address: str) -> None:
    key = await world.key()
    async with started(world=world) as other, serving(other) as elsewhere:
        async with socket(address, key, subscribe={}) as client:
            await client.until(is_type("snapshot"))
            await world.ledger.write(job(IDS[0]))
            position = (await client.until(is_event(IDS[0], State.QUEUED)))[-1]["position"]
        await world.ledger.write(job(IDS[1]))
        async with socket(elsewhere, key, subscribe={"position": position}) as client:
            frames = await client.until(is_event(IDS[1], State.QUEUED))
            assert [frame["type"] for frame in frames] == ["resumed", "event"]
            # A position that this gateway has not read yet is waited for, not refused.
            partition, offset, _ = frames[-1]["position"].split(":")
            ahead = asyncio.ensure_future(other.parts.feed.reached(int(partition), int(offset) + 1, 5))
            await world.ledger.write(job(IDS[2]))
            assert await ahead


async def test_a_gateway_that_starts_late_knows_the_last_minutes(world: World, address: str) -> None:
    key = await world.key()
    async with socket(address, key, subscribe={}) as client:
        await client.until(is_type("snapshot"))
        await world.ledger.write(job(IDS[0]))
        position = (await client.until(is_event(IDS[0], State.QUEUED)))[-1]["position"]
    await world.ledger.write(job(IDS[1]))
    async with (
        started(world=world) as late,
        serving(late) as elsewhere,
        socket(elsewhere, key, subscribe={"position": position}) as client,
    ):
        assert [f["type"] for f in await client.until(is_event(IDS[1], State.QUEUED))] == ["resumed", "event"]


@pytest.mark.parametrize("position", ["0:0:deadbeef", "7:12:00000000", "not ours", ""])
async def test_a_position_that_can_not_be_vouched_for_is_answered_by_a_snapshot(
    world: World, address: str, position: str
) -> None:
    await world.ledger.write(job(IDS[0]))
    async with socket(address, await world.key(), subscribe={"position": position}) as client:
        frame = await client.receive()
    assert (frame["type"], frame["recovered"], len(frame["jobs"])) == ("snapshot", False, 1)


async def test_what_is_too_much_to_replay_is_a_snapshot() -> None:
    async with started(settings(socket_queue_frames=8)) as world, serving(world) as address:
        key = await world.key()
        async with socket(address, key, subscribe={}) as client:
            await client.until(is_type("snapshot"))
            await world.ledger.write(job(IDS[0]))
            position = (await client.until(is_event(IDS[0], State.QUEUED)))[-1]["position"]
        for n in range(1, 8):
            await world.ledger.write(job(IDS[n]))
        async with socket(address, key, subscribe={"position": position}) as client:
            frame = await client.receive()
            assert (frame["type"], len(frame["jobs"])) == ("snapshot", 8)


async def test_nobody_sees_anothers_events_progress_or_jobs_whatever_is_asked(world: World, address: str) -> None:
    """Eve shares Ada's partition, asks for her job by id, and resumes from a position that Ada was given."""
    partition_of = world.parts.feed.partition_of
    eve = next(name for name in (f"eve-{n}" for n in range(1_000)) if partition_of(name) == partition_of("ada"))
    await world.ledger.write(job(IDS[0]))
    async with socket(address, await world.key(), subscribe={}) as ada:
        await ada.until(is_type("snapshot"))
        await world.ledger.write(job(IDS[1]))
        position = (await ada.until(is_event(IDS[1], State.QUEUED)))[-1]["position"]
        key = await world.key(eve)
        asked = [{}, {"jobId": IDS[0]}, {"position": position}, {"position": position, "jobId": IDS[0]}]
        for ask in asked:
            async with socket(address, key, subscribe=ask) as spy:
                await spy.until(is_type("snapshot", "resumed"))
                await progress(world, 1)
                made = job(IDS[10 + asked.index(ask)])
                await world.ledger.write(made)
                await ada.until(is_event(made.job_id, State.QUEUED))
                own = job(IDS[20 + asked.index(ask)], eve)
                await world.ledger.write(own)
                await spy.send(type="ping")
                frames = await spy.until(is_type("pong"))
                assert all(frame.get("data", {"userId": eve})["userId"] == eve for frame in frames)
                assert all(one["userId"] == eve for frame in frames for one in frame.get("jobs", []))


async def test_a_watcher_of_one_job_sees_that_job(world: World, address: str) -> None:
    await world.ledger.write(job(IDS[0]))
    await world.ledger.write(job(IDS[1]))
    async with socket(address, await world.key(), subscribe={"jobId": IDS[0]}) as client:
        snapshot = (await client.until(is_type("snapshot")))[-1]
        assert [one["jobId"] for one in snapshot["jobs"]] == [IDS[0]]
        await world.ledger.write(job(IDS[1], state=State.PROCESSING, version=2))
        await world.ledger.write(job(IDS[0], state=State.PROCESSING, version=2))
        frames = await client.until(is_type("event"))
        assert [frame["data"]["jobId"] for frame in frames] == [IDS[0]]


async def test_progress_is_seen_live_and_the_last_of_it_on_arrival(world: World, address: str) -> None:
    await world.ledger.write(job(IDS[0], state=State.PROCESSING))
    key = await world.key()
    async with socket(address, key, subscribe={}) as first:
        await first.until(is_type("snapshot"))
        await progress(world, 3)
        assert (await first.until(is_type("progress")))[-1]["data"]["step"] == 3
        preview = AttemptPreview(
            user_id="ada", job_id=IDS[0], sequence=4, attempt=1, worker_id="w:1", step=3, steps=10, jpeg="QQ=="
        )
        await world.log.append(encode(preview, source="/test", at=now_ms()))
        assert (await first.until(is_type("preview")))[-1]["data"]["jpeg"] == "QQ=="
        async with socket(address, key, subscribe={}) as second:
            frames = await second.until(is_type("preview"))
            assert [frame["type"] for frame in frames] == ["snapshot", "progress", "preview"]


async def test_progress_after_the_end_is_not_shown(world: World, address: str) -> None:
    made = job(IDS[0], state=State.PROCESSING)
    await world.ledger.write(made)
    async with socket(address, await world.key(), subscribe={}) as client:
        await client.until(is_type("snapshot"))
        await world.ledger.write(replace(made, state=State.COMPLETED, version=2))
        await client.until(is_event(IDS[0], State.COMPLETED))
        await progress(world, 9)
        await progress(world, 1, IDS[1])
        frames = await client.until(is_type("progress"))
        assert [frame["data"]["jobId"] for frame in frames] == [IDS[1]]


async def test_an_announcement_made_again_is_shown_once(world: World, address: str) -> None:
    made = job(IDS[0])
    await world.ledger.write(made)
    async with socket(address, await world.key(), subscribe={}) as client:
        await client.until(is_type("snapshot"))
        await world.ledger.announce(made)
        await world.ledger.write(job(IDS[1]))
        assert len(await client.until(is_event(IDS[1], State.QUEUED))) == 1


async def test_many_events_at_once_are_not_a_slow_client() -> None:
    async with (
        started(settings(socket_queue_frames=8)) as world,
        serving(world) as address,
        socket(address, await world.key(), subscribe={}) as client,
    ):
        await client.until(is_type("snapshot"))
        for n, job_id in enumerate(IDS):  # in one turn of the loop, as the feed hands over a batch
            value = b'{"jobId":"%b","state":"queued"}' % job_id.encode()
            entry = Entry(Cursor(0, n, "0" * 8), "ada", 0, Happened(JobEvent.TYPES[0], job_id, 1, value))
            world.parts.feed._tell("ada", Event(entry, event_frame(entry)))
        frames = await client.until(is_event(IDS[-1], State.QUEUED))
    assert [frame["data"]["jobId"] for frame in frames] == IDS
