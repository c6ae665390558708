"""The client of ``openv generate`` against a scripted gateway on a real socket."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from operations.client import Endpoint, OpenVClient, RefusedError
from operations.generate import file_name
from tests.operations.serving import serving

JOB = "00000000-0000-4000-8000-000000000001"


class Script:
    """A gateway that answers 503 once, loses its socket once, and then completes the job."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.subscribed: list[dict[str, Any]] = []
        self.close_code = 4000

    async def submit(self, request: Request) -> Response:
        self.keys.append(request.headers.get("idempotency-key"))
        if len(self.keys) == 1:
            return JSONResponse({"error": "away"}, status_code=503, headers={"Retry-After": "0"})
        return JSONResponse({"jobId": JOB, "state": "queued"})

    async def live(self, socket: WebSocket) -> None:
        await socket.accept()
        assert (await socket.receive_json())["token"] == "ov_key"
        self.subscribed.append(await socket.receive_json())
        if len(self.subscribed) == 1:
            await self._event(socket, "queued", "1:1:a")
            await socket.close(self.close_code, "restarting")
            return
        await socket.send_json({"type": "ping"})
        assert (await socket.receive_json())["type"] == "pong"
        await self._event(socket, "completed", "1:2:b", jobId="another")
        await self._event(socket, "completed", "1:3:c")
        await socket.close()

    async def _event(self, socket: WebSocket, state: str, position: str, **job: Any) -> None:
        data = {"jobId": JOB, "state": state, **job}
        await socket.send_text(json.dumps({"type": "event", "position": position, "data": data}))

    def app(self) -> Starlette:
        async def to_file(request: Request) -> Response:
            return RedirectResponse("/signed", 307)

        async def signed(request: Request) -> Response:
            return PlainTextResponse("the video")

        async def missing(request: Request) -> Response:
            return JSONResponse({"error": "Not ready", "message": "It is still being made."}, status_code=409)

        routes = [
            Route("/api/runpod", self.submit, methods=["POST"]),
            Route("/file", to_file),
            Route("/signed", signed),
            Route("/missing", missing),
            WebSocketRoute("/ws", self.live),
        ]
        return Starlette(routes=routes)


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Script, OpenVClient]]:
    script = Script()
    config = uvicorn.Config(script.app(), log_level="error", ws="websockets-sansio", lifespan="off")
    async with serving(config) as url, OpenVClient(Endpoint(url, "ov_key")) as client:
        yield script, client


async def test_a_503_is_repeated_with_the_same_key(scripted: tuple[Script, OpenVClient]) -> None:
    script, client = scripted
    notes: list[str] = []
    assert (await client.submit({"prompt": "a"}, notes.append))["jobId"] == JOB
    assert notes == ["away Trying again for up to a minute."]
    assert len(script.keys) == 2
    assert script.keys[0] == script.keys[1] is not None


async def test_a_lost_socket_is_reopened_with_the_position(scripted: tuple[Script, OpenVClient]) -> None:
    script, client = scripted
    frames = [frame async for frame in client.watch(JOB)]
    assert [frame["data"]["state"] for frame in frames] == ["queued", "completed"]
    assert script.subscribed[0] == {"type": "subscribe", "jobId": JOB}
    assert script.subscribed[1]["position"] == "1:1:a"


async def test_a_terminal_close_is_not_reopened(scripted: tuple[Script, OpenVClient]) -> None:
    script, client = scripted
    script.close_code = 4501
    with pytest.raises(RefusedError, match="restarting"):
        _ = [frame async for frame in client.watch(JOB)]
    assert len(script.subscribed) == 1


async def test_a_download_follows_the_redirect_and_leaves_no_half_file(
    scripted: tuple[Script, OpenVClient], tmp_path: Path
) -> None:
    _, client = scripted
    await client.download("/file", tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_text() == "the video"
    with pytest.raises(RefusedError, match=r"Not ready\. It is still being made"):
        await client.download("/missing", tmp_path / "w.mp4")
    assert os.listdir(tmp_path) == ["v.mp4"]  # noqa: PTH208


async def test_a_refusal_names_every_field() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        details = [{"field": "width", "message": "too small"}, {"field": "steps", "message": "too many"}]
        return httpx.Response(400, json={"error": "Validation failed", "details": details})

    async with OpenVClient(Endpoint("http://gateway", "k")) as client:
        await client._http.aclose()
        client._http = httpx.AsyncClient(base_url="http://gateway", transport=httpx.MockTransport(refuse))
        with pytest.raises(RefusedError) as refused:
            await client.submit({"prompt": "a"})
    assert str(refused.value) == "Validation failed: width too small; steps too many."
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A corgi, surfing!", "a-corgi-surfing-00000000.mp4"),
        ("../../etc/passwd", "etc-passwd-00000000.mp4"),
        ("日本", "video-00000000.mp4"),
        ("x" * 500, f"{'x' * 48}-00000000.mp4"),
    ],
)
def test_a_file_is_named_after_its_prompt(prompt: str, name: str) -> None:
    assert file_name(prompt, JOB) == name
