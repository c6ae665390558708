"""S3 away while a video is done: it waits, goes to the fallback store, or is made again; it is never lost."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.end_to_end.stack import Frames, until
from tests.outages.s3_world import S3, World, s3_world

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(300)]
IMPATIENT = {"OPENV_UPLOAD_S": "1"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with s3_world(tmp_path_factory.mktemp("s3_away"), OPENV_RETRY_DELAY_SECONDS="0.5") as made:
        yield made


async def waits(frames: Frames) -> dict[str, Any]:
    """The progress frame that says so."""
    frame = await frames.next(lambda one: one["type"] == "progress" and one["data"].get("waitsFor") is not None)
    return dict(frame["data"])


async def degraded(http: httpx.AsyncClient, servers: list[str]) -> None:
    """Wait until the gateway says that these are away, ready as it is."""

    async def look() -> bool:
        answer = await http.get("/readyz")
        assert answer.status_code == 200
        return bool(answer.json()["degraded"] == servers)

    await until(look, f"degraded: {servers}", 60)


async def test_an_outage_within_its_patience_is_waited_out_and_watchers_are_told(world: World) -> None:
    http = await world.stack.new_user("ann")
    async with world.worker() as worker, world.stack.socket(http) as frames:
        await world.main.wire.cut()
        row = await world.submit(http)
        said = await waits(frames)
        assert (said["phase"], said["waitsFor"], said.get("etaMs")) == ("upload", "s3", None)
        again = await waits(frames)
        assert again["elapsedMs"] > said["elapsedMs"]
        await degraded(http, ["s3"])
        assert (await http.get("/api/videos")).json()[0]["state"] == "processing"
        await world.main.wire.mend()
        row = await world.completed(http, row)
        assert (row["attempt"], row["charge"]["state"]) == (1, "captured")
        assert set((await world.served(http, row)).values()) == {stored_at(world.main)}
        assert worker.log.read_text().count("upload_waits") == 1, "said once, not at every try"
    assert await world.fallback.keys(row) == []


async def test_a_longer_one_ends_in_the_fallback_store_and_deletion_reaches_both(world: World) -> None:
    http = await world.stack.new_user("bob")
    world.main.wire.answers = False  # it takes every file, and nobody hears of it
    async with world.worker(**IMPATIENT) as worker:
        row = await world.completed(http, await world.submit(http))
        await worker.says("store_away")  # it began without the main store
    assert row["attempt"] == 1
    assert {row["output"][kind]["store"] for kind in ("video", "poster", "thumbnail")} == {"fallback"}
    assert set((await world.served(http, row)).values()) == {stored_at(world.fallback)}
    assert len(await world.fallback.keys(row)) == 3
    assert await world.main.keys(row), "copies that nobody was told of"

    answer = await http.request("DELETE", "/api/videos", json={"jobIds": [row["jobId"]]})
    assert answer.status_code == 200, answer.text
    await world.emptied(world.fallback, row)
    world.main.wire.answers = True
    await world.emptied(world.main, row)


async def test_with_both_away_the_job_is_tried_again_and_made_after_the_mend(world: World) -> None:
    http = await world.stack.new_user("cyd")
    async with world.worker(**IMPATIENT, OPENV_UPLOAD_FALLBACK_S="4"), world.stack.socket(http) as frames:
        await world.main.wire.cut()
        await world.fallback.wire.cut()
        row = await world.submit(http)
        again = await frames.next(lambda one: one["type"] == "event" and one["data"].get("attempt") == 2)
        assert again["data"]["state"] == "queued"
        await world.main.wire.mend()
        await world.fallback.wire.mend()
        row = await world.completed(http, row)
        assert row["attempt"] >= 2
        assert [one["code"] for one in row["earlierAttempts"]] == ["storage_unavailable"] * (row["attempt"] - 1)
        await world.served(http, row)
        following = await world.submit(http)
        assert following["monthlyQuota"]["currentUsage"] == pytest.approx(2 * 7 / 24, abs=0.01), "charged once"
        await world.completed(http, following)


async def test_a_cancel_meanwhile_is_prompt_and_what_was_stored_goes_after_the_mend(world: World) -> None:
    http = await world.stack.new_user("dan")
    async with world.worker() as worker, world.stack.socket(http) as frames:
        world.main.wire.answers = False
        row = await world.submit(http)
        await waits(frames)

        async def one_file() -> bool:
            return bool(await world.main.keys(row))

        await until(one_file, "a file in the store, though nobody was told")
        assert (await http.post(f"/api/runpod/{row['jobId']}/cancel")).status_code == 200
        ended = await frames.next(lambda one: one["type"] == "event" and one["data"]["state"] == "cancelled")
        assert ended["data"]["charge"]["state"] == "refunded"
        await worker.says('"before": "busy"')  # free for the next one, with S3 still away
        world.main.wire.answers = True
        await world.emptied(world.main, row)
        following = await world.completed(http, await world.submit(http))
        assert following["attempt"] == 1


def says(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


FORBIDDEN = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


async def test_whatever_answers_instead_of_it_is_not_believed_and_a_full_disk_is_an_outage(world: World) -> None:
    """Errors, silence, a page that says yes to everything (as a proxy's does), and a server that can write nothing."""
    http = await world.stack.new_user("eve")

    async def goes_to_the_fallback(what: object) -> None:
        row = await world.completed(http, await world.submit(http))
        assert set((await world.served(http, row)).values()) == {stored_at(world.fallback)}, what

    async with world.worker(**IMPATIENT):
        for answer in (says("403 Forbidden", FORBIDDEN), says("500 Oops"), says("200 OK"), b""):
            async with world.main.replaced_by(answer):
                await goes_to_the_fallback(answer)
        with world.main.full():
            await goes_to_the_fallback("full")
    stored = await world.main.objects.put_bytes("after", b"all that", "text/plain")
    assert await world.main.objects.read("after") == b"all that", stored


def stored_at(store: S3) -> str:
    return store.settings.s3_endpoint_url
