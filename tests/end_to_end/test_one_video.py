"""Submit → progress → a video that a player opens; then its deletion, row and files."""

import hashlib
import io
from itertools import pairwise
from typing import Any

import av
import httpx
import pytest

from schemas.phases import Phase
from tests.end_to_end.stack import SMALL, Stack, until

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]


def ended(frame: dict[str, Any]) -> bool:
    return frame["type"] == "event" and frame["data"]["state"] == "completed"


async def test_a_prompt_becomes_a_video_with_progress_on_the_socket(stack: Stack) -> None:
    http = await stack.new_user("alice")
    async with stack.socket(http) as frames:
        await frames.next(lambda frame: frame["type"] == "snapshot")
        row = await stack.submit(http, num_frames=13)
        done = await frames.next(ended)

    mine = [frame for frame in frames.seen if frame["type"] == "event" and frame["data"]["jobId"] == row["jobId"]]
    assert [frame["data"]["state"] for frame in mine] == ["queued", "processing", "completed"]
    progress = [frame["data"] for frame in frames.seen if frame["type"] == "progress"]
    # Of what a socket has not taken yet only the newest is kept, so not every phase need be seen; none comes back.
    phases = [list(Phase).index(one["phase"]) for one in progress]
    assert phases == sorted(phases)
    assert [one for one in progress if one["phase"] == "denoise" and one["steps"] == SMALL["steps"]]
    assert all(a["fraction"] <= b["fraction"] for a, b in pairwise(progress))
    assert any(frame["type"] == "preview" for frame in frames.seen)

    video = await http.get(done["data"]["url"], follow_redirects=True)
    with av.open(io.BytesIO(video.content)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (SMALL["width"], SMALL["height"])
        assert stream.average_rate == 24
        assert sum(1 for _ in container.decode(stream)) == 13
    stored = done["data"]["output"]["video"]
    assert hashlib.sha256(video.content).hexdigest() == stored["sha256"]
    assert len(video.content) == stored["bytes"]
    poster = await http.get(done["data"]["posterUrl"], follow_redirects=True)
    assert poster.content[:2] == b"\xff\xd8"
    thumbnail = await http.get(done["data"]["thumbnailUrl"], follow_redirects=True)
    assert thumbnail.content[8:12] == b"WEBP"


async def test_a_deleted_video_is_gone_with_its_files(stack: Stack) -> None:
    http = await stack.new_user("dora")
    row = await stack.submit(http)
    done = await stack.state(http, row["jobId"], "completed")
    signed = (await http.get(done["url"])).headers["location"]
    async with httpx.AsyncClient(trust_env=False) as anyone:
        assert (await anyone.get(signed)).status_code == 200
        answer = await http.request("DELETE", "/api/videos", json={"jobIds": [row["jobId"]]})
        assert answer.json() == {"success": True}
        assert (await http.get("/api/videos")).json() == []

        async def gone() -> bool:
            return (await anyone.get(signed)).status_code == 404

        await until(gone, "the file deleted by the janitor")


async def test_nobody_else_sees_touches_or_hears_of_a_job(stack: Stack) -> None:
    owner, stranger = await stack.new_user("olga"), await stack.new_user("sven")
    async with stack.socket(stranger) as frames:
        await frames.next(lambda frame: frame["type"] == "snapshot")
        row = await stack.submit(owner)
        await stack.state(owner, row["jobId"], "completed")
        for method, path in (
            ("GET", f"/api/runpod/{row['jobId']}"),
            ("POST", f"/api/runpod/{row['jobId']}/cancel"),
            ("GET", f"/api/videos/{row['jobId']}/video"),
        ):
            assert (await stranger.request(method, path)).status_code == 404
        await stranger.request("DELETE", "/api/videos", json={"jobIds": [row["jobId"]]})
        assert (await owner.get(f"/api/runpod/{row['jobId']}")).json()["state"] == "completed"
        own = await stack.submit(stranger)
        await frames.next(lambda frame: frame["type"] == "event" and frame["data"]["state"] == "completed")
    heard = {frame["data"].get("jobId") for frame in frames.seen if "data" in frame}
    assert heard == {own["jobId"]}
