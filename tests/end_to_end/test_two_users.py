"""Two users on every route and both sockets: one is told nothing of the other's, and changes nothing of it.

What is tried is taken from the table of operations, so that a new route that takes an id can't be left out.
"""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.spec.table import OPERATIONS
from schemas.access import Scope
from tests.end_to_end.stack import Stack

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]

# What a path's parameters are filled with besides the ids of the other's.
KINDS = ("video", "poster", "thumbnail")
BODIES: dict[str, Any] = {
    "changeWebhook": {"enabled": False},
    "deleteVideos": None,  # below: it takes ids in its body
}


@dataclass
class Ada:
    """Who has something, and what."""

    http: httpx.AsyncClient
    done: str
    ended: str
    served: str
    webhook: dict[str, Any]

    @property
    def jobs(self) -> tuple[str, str, str]:
        return self.done, self.ended, self.served

    async def everything(self) -> Any:
        """All that she sees of her own."""
        asked = ("/api/videos", "/api/webhooks", f"/api/webhooks/{self.webhook['id']}/deliveries", "/api/terms/check")
        return [(await self.http.get(path)).json() for path in asked]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ada(stack: Stack) -> Ada:
    http = await stack.new_user("two-users-ada")
    done = await stack.submit(http, num_frames=7)
    await stack.state(http, done["jobId"], "completed")
    ended = await stack.submit(http, num_frames=127)
    await http.post(f"/api/runpod/{ended['jobId']}/cancel")
    await stack.state(http, ended["jobId"], "cancelled", "completed")
    small = {"prompt": "of an endpoint", "width": 384, "height": 384, "num_frames": 7, "steps": 10}
    served = (await http.post("/v2/mochi-1/run", json={"input": small})).json()["id"]
    await stack.state(http, served, "completed")
    made = await http.post("/api/webhooks", json={"url": "https://1.1.1.1/ada", "events": ["video.cancelled"]})
    assert made.status_code == 201, made.text
    return Ada(http, done["jobId"], ended["jobId"], served, made.json())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def eve(stack: Stack) -> httpx.AsyncClient:
    return await stack.new_user("two-users-eve")


def ways(path: str, ada: Ada) -> list[str]:
    """The path with each of her ids in it."""
    if "{job_id}" in path:
        kinds = KINDS if "{kind}" in path else ("",)
        return [path.format(endpoint_id="mochi-1", job_id=one, kind=kind) for one in ada.jobs for kind in kinds]
    if "{video_id}" in path:
        return [path.format(video_id=f"video_{one}") for one in ada.jobs]
    return [path.format(webhook_id=ada.webhook["id"], delivery_id="d-1")]


# Of something that is one user's; who may use an endpoint, and what workers may, is tried elsewhere.
OWNED = ("{job_id}", "{video_id}", "{webhook_id}", "{delivery_id}")
OF_AN_ID = [
    one
    for one in OPERATIONS
    if any(name in one.path for name in OWNED) and one.access.scope not in (None, Scope.ADMIN) and one.replies
]
LISTS = [one for one in OPERATIONS if one.method == "get" and "{" not in one.path and one.access.scope is Scope.READ]


def test_the_table_still_has_what_this_test_is_about() -> None:
    assert {
        "/api/runpod/{job_id}",
        "/api/videos/{job_id}/{kind}",
        "/api/webhooks/{webhook_id}",
        "/v1/videos/{video_id}/content",
        "/v2/{endpoint_id}/cancel/{job_id}",
    } <= {one.path for one in OF_AN_ID}
    assert {"/api/videos", "/api/webhooks"} <= {one.path for one in LISTS}


@pytest.mark.parametrize("operation", OF_AN_ID, ids=lambda one: one.name)
async def test_anothers_ids_are_as_nobodys(operation: Any, ada: Ada, eve: httpx.AsyncClient) -> None:
    before = await ada.everything()
    for path in ways(operation.path, ada):
        answer = await eve.request(operation.method.upper(), path, json=BODIES.get(operation.name, {}))
        assert answer.status_code == 404, (path, answer.status_code, answer.text)
        assert ada.webhook["secret"] not in answer.text
    assert await ada.everything() == before


async def test_deleting_anothers_videos_deletes_nothing(ada: Ada, eve: httpx.AsyncClient) -> None:
    before = await ada.everything()
    answer = await eve.request("DELETE", "/api/videos", json={"jobIds": list(ada.jobs)})
    assert answer.json() == {"success": True}, "as for ids that nobody has: it tells nothing"
    assert await ada.everything() == before
    film = await ada.http.get(f"/api/videos/{ada.done}/video", follow_redirects=True)
    assert film.status_code == 200


@pytest.mark.parametrize("operation", [one for one in LISTS if "live" not in one.path], ids=lambda one: one.name)
async def test_no_list_tells_of_another(operation: Any, ada: Ada, eve: httpx.AsyncClient) -> None:
    answer = await eve.get(operation.path, params={"deleted": "true"} if operation.path == "/api/videos" else {})
    assert answer.status_code == 200, answer.text
    assert not [one for one in (*ada.jobs, ada.webhook["id"], "two-users-ada") if one in answer.text]


async def test_an_idempotency_key_of_another_makes_a_video_of_ones_own(
    stack: Stack, ada: Ada, eve: httpx.AsyncClient
) -> None:
    named = {"Idempotency-Key": "the-same-words"}
    body = {"prompt": "mine", "num_frames": 7, "steps": 10, "width": 384, "height": 384}
    hers = (await ada.http.post("/api/runpod", json=body, headers=named)).json()
    other = (await eve.post("/api/runpod", json=body, headers=named)).json()
    assert hers["jobId"] != other["jobId"]
    assert other["userId"] == "two-users-eve"
    for http, row in ((ada.http, hers), (eve, other)):
        await stack.state(http, row["jobId"], "completed")


async def test_a_socket_shows_nothing_of_another(stack: Stack, ada: Ada, eve: httpx.AsyncClient) -> None:
    async with stack.socket(ada.http) as frames:
        position = (await frames.next(lambda frame: frame["type"] == "snapshot"))["position"]
        await ada.http.post(f"/api/runpod/{ada.ended}/retry")
        await ada.http.post(f"/api/runpod/{ada.ended}/cancel")
        await frames.next(lambda frame: frame["type"] == "event" and frame["data"]["jobId"] == ada.ended)
        for asked in ({}, {"jobId": ada.ended}, {"position": position}, {"position": position, "jobId": ada.done}):
            async with stack.socket(eve, **asked) as foreign:
                await foreign.next(lambda frame: frame["type"] in {"snapshot", "resumed"})
                made = await stack.submit(eve, num_frames=7)
                if "jobId" not in asked:
                    await foreign.next(
                        lambda frame, row=made: frame["type"] == "event" and frame["data"]["jobId"] == row["jobId"]
                    )
                await stack.state(eve, made["jobId"], "completed")
                told = str(foreign.seen)
                assert not [one for one in (*ada.jobs, "two-users-ada") if one in told]


async def test_an_event_stream_shows_nothing_of_another(stack: Stack, ada: Ada, eve: httpx.AsyncClient) -> None:
    async with stack.socket(ada.http) as frames:
        position = (await frames.next(lambda frame: frame["type"] == "snapshot"))["position"]
    for asked in ({"jobId": ada.done}, {"position": position}, {"jobId": ada.done, "position": position}):
        async with eve.stream("GET", "/api/live/events", params=asked) as stream:
            assert stream.status_code == 200
            told = ""
            async for line in stream.aiter_lines():
                told += line
                if line.startswith("data:") and ('"snapshot"' in line or '"resumed"' in line):
                    break
            assert not [one for one in (*ada.jobs, "two-users-ada") if one in told]
