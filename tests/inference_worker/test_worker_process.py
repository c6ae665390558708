"""A real worker with a real child on real servers: a video, a stop, and every kind of death."""

import base64
import hashlib
import io
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import av
import pytest

from repo.kafka import KafkaEventLog
from repo.s3 import S3ObjectStore
from schemas.commands import AttemptFailed, AttemptSucceeded
from schemas.dispatch import StopAttempt, WorkerGone, WorkerState
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress
from tests.inference_worker.worker_process import Process, alive, worker
from tests.servers import settings_of

pytestmark = [pytest.mark.servers, pytest.mark.model]
SCRIPTED = "scripted_engine:Scripted"
# The client's bucket is on a private network, which an operator has to allow.
HERE_TOO = {"OPENV_WEBHOOK_ALLOW_HTTP": "1", "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}


@pytest.fixture
async def scripted(servers: dict[str, str], kafka_log: KafkaEventLog, tmp_path: Path) -> AsyncIterator[Process]:
    """A ready worker whose engine does what the prompt's first word says."""
    async with worker(servers, kafka_log, tmp_path, SCRIPTED) as made:
        await made.ready()
        yield made


async def asked_for_in_a_bucket(servers: dict[str, str], objects: S3ObjectStore, bucket: str) -> str:
    """The key of a request whose ``s3Config`` names that bucket."""
    config = {
        "accessId": servers["S3_ACCESS_KEY_ID"],
        "accessSecret": servers["S3_SECRET_ACCESS_KEY"],
        "bucketName": bucket,
        "endpointUrl": servers["S3_ENDPOINT_URL"],
        "objectPath": "made/",
    }
    key = f"tests/inputs/{bucket}.json"
    await objects.put_bytes(key, json.dumps({"input": {}, "s3Config": config}).encode(), "application/json")
    return key


async def test_tiny_makes_a_video_that_lies_in_the_store_as_reported_and_in_the_clients_bucket(
    servers: dict[str, str], kafka_log: KafkaEventLog, object_store: S3ObjectStore, tmp_path: Path
) -> None:
    bucket = f"client-{uuid.uuid4().hex[:8]}"
    asked = await asked_for_in_a_bucket(servers, object_store, bucket)
    async with worker(servers, kafka_log, tmp_path, "tiny", **HERE_TOO) as made:
        beat = await made.ready()
        assert beat.engine == "tiny"
        assert beat.device.startswith("CPU")
        order = await made.run("a corgi surfing at sunset", num_frames=13, steps=4, input_key=asked)
        await made.reported(order.job_id, "succeeded")
        assert await made.reports(order.job_id) == ["started", "succeeded"]
        [done] = [one for one in await made.commands.look() if isinstance(one, AttemptSucceeded)]
        for stored in (done.output.video, done.output.poster, done.output.thumbnail):
            assert stored
            content = await object_store.read(stored.key)
            assert content
            assert (len(content), hashlib.sha256(content).hexdigest()) == (stored.bytes, stored.sha256)
        assert done.output.video
        video = await object_store.read(done.output.video.key)
        with av.open(io.BytesIO(video or b"")) as container:
            assert sum(1 for _ in container.decode(video=0)) == 13
        async with S3ObjectStore(settings_of(servers, s3_bucket=bucket)) as client:
            assert await client.read(f"made/{order.job_id}.mp4") == video
        assert servers["S3_SECRET_ACCESS_KEY"] not in made.output.read_text()

        progress = await made.shown(order.job_id, AttemptProgress)
        assert {one.phase for one in progress} >= {Phase.DENOISE, Phase.UPLOAD}
        assert all(a.fraction <= b.fraction and a.sequence < b.sequence for a, b in pairwise(progress))
        await made.ready(after=beat.sequence)
        assert list((tmp_path / "work").rglob("video.mp4")) == []

        made.process.send_signal(signal.SIGTERM)
        assert await made.ended() == 0
        assert [one for one in await made.dispatch.look() if isinstance(one, WorkerGone)]
        assert list((tmp_path / "work").iterdir()) == []


async def test_previews_are_pictures(scripted: Process) -> None:
    order = await scripted.run("endless", steps=10)
    [seen, *_] = await scripted.shown(order.job_id, AttemptProgress)
    assert seen.steps == 10
    await scripted.send(_stop(scripted, order.job_id))
    beat = await scripted.ready(after=(await scripted.beats())[-1].sequence)
    assert beat.job_id is None
    film = await scripted.run("film", steps=200_000)
    [picture, *_] = await scripted.shown(film.job_id, AttemptPreview)
    assert base64.b64decode(picture.jpeg)[:2] == b"\xff\xd8"


def _stop(made: Process, job_id: str) -> StopAttempt:
    return StopAttempt(
        worker_id=made.identity.worker_id, session=made.identity.session, job_id=job_id, attempt=1, reason="test"
    )


async def test_a_stop_midway_ends_it_without_a_report_and_the_child_lives_on(scripted: Process) -> None:
    child = scripted.child()
    order = await scripted.run("endless")
    await scripted.shown(order.job_id, AttemptProgress)
    busy = (await scripted.beats())[-1]
    await scripted.send(_stop(scripted, order.job_id))
    await scripted.ready(after=busy.sequence)
    assert await scripted.reports(order.job_id) == ["started"]
    assert scripted.child() == child
    following = await scripted.run("film")
    await scripted.reported(following.job_id, "succeeded")


async def test_a_deaf_child_is_killed_after_the_grace(
    servers: dict[str, str], kafka_log: KafkaEventLog, tmp_path: Path
) -> None:
    async with worker(servers, kafka_log, tmp_path, SCRIPTED, OPENV_STOP_GRACE_S="0.5") as made:
        await made.ready()
        child = made.child()
        order = await made.run("stuck")
        await made.reported(order.job_id, "started")
        await made.shown(order.job_id, AttemptProgress)
        busy = (await made.beats())[-1]
        await made.send(_stop(made, order.job_id))
        await made.ready(after=busy.sequence)
        assert made.child() != child
        assert await made.reports(order.job_id) == ["started"]


async def test_kill_9_of_the_child_midway_is_reported_and_the_worker_ready_again(scripted: Process) -> None:
    child = scripted.child()
    order = await scripted.run("endless")
    await scripted.shown(order.job_id, AttemptProgress)
    busy = (await scripted.beats())[-1]
    os.kill(child, signal.SIGKILL)
    await scripted.reported(order.job_id, "failed")
    [failed] = [one for one in await scripted.commands.look() if isinstance(one, AttemptFailed)]
    assert failed.code is FailureCode.WORKER_CRASHED
    assert "SIGKILL" in failed.message
    await scripted.ready(after=busy.sequence)
    assert scripted.child() != child


async def test_a_child_that_is_stuck_is_found_out(
    servers: dict[str, str], kafka_log: KafkaEventLog, tmp_path: Path
) -> None:
    async with worker(servers, kafka_log, tmp_path, SCRIPTED, OPENV_CHILD_STALLED_S="2") as made:
        await made.ready()
        order = await made.run("stuck")
        await made.reported(order.job_id, "failed")
        [failed] = [one for one in await made.commands.look() if isinstance(one, AttemptFailed)]
        assert failed.code is FailureCode.WORKER_CRASHED
        await made.ready(after=(await made.beats())[-1].sequence)


async def test_a_fatal_failure_costs_the_next_attempt_nothing(scripted: Process) -> None:
    order = await scripted.run("fatal")
    await scripted.reported(order.job_id, "failed")
    beat = (await scripted.beats())[-1]
    await scripted.ready(after=beat.sequence)
    following = await scripted.run("film")
    await scripted.reported(following.job_id, "succeeded")
    assert await scripted.reports(following.job_id) == ["started", "succeeded"]


async def test_sigterm_midway_hands_back_and_leaves_nothing(scripted: Process, tmp_path: Path) -> None:
    child = scripted.child()
    order = await scripted.run("endless")
    await scripted.shown(order.job_id, AttemptProgress)
    scripted.process.send_signal(signal.SIGTERM)
    assert await scripted.ended() == 0
    assert await scripted.reports(order.job_id) == ["started", "handed_back"]
    assert (await scripted.beats())[-1].state is WorkerState.DRAINING
    assert [one for one in await scripted.dispatch.look() if isinstance(one, WorkerGone)]
    assert not alive(child)
    assert list((tmp_path / "work").iterdir()) == []


async def test_kill_9_of_the_parent_takes_the_child_along_and_the_next_worker_cleans_up(
    scripted: Process, servers: dict[str, str], kafka_log: KafkaEventLog, tmp_path: Path
) -> None:
    child = scripted.child()
    order = await scripted.run("endless")
    await scripted.shown(order.job_id, AttemptProgress)
    left = list((tmp_path / "work").iterdir())
    assert left
    scripted.process.send_signal(signal.SIGKILL)
    await scripted.ended()

    async def gone() -> bool:
        return not alive(child)

    await scripted.until(gone, "the child gone")
    async with worker(servers, kafka_log, tmp_path, SCRIPTED) as following:
        await following.ready()
        assert not [path for path in left if path.exists()]


async def test_a_wrong_setting_is_one_sentence(
    servers: dict[str, str], kafka_log: KafkaEventLog, tmp_path: Path
) -> None:
    async with worker(servers, kafka_log, tmp_path, "tiny", OPENV_POOL="two words") as made:
        assert await made.ended() == 1
        assert made.output.read_text() == "OPENV_POOL must be 1 to 128 letters, digits or _ . : @ | -.\n"
