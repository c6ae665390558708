"""``live.js`` in a real Chromium against a server that does what the test says: what it sends, when, and to whom."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gateway.http.page import CONSOLE
from schemas.api.live import CLOSE_WORDS, CloseCode, binary_preview
from tests.end_to_end.browser import chromium

pytestmark = pytest.mark.timeout(300)

CLIENT = (CONSOLE / "live.js").read_bytes()
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4z"
    "NDL/wAALCAABAAEBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJx"
    "FDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZ"
    "mqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/APn+v//Z"
)
# Notes what the client says and is asked; a ``token`` of null in the options is a function that counts.
BEGIN = """async (options) => {
  const { connect } = await import("/live.js");
  Object.assign(window, { heard: [], statuses: [], positions: [], asked: [] });
  if (options.tokens) {
    options.token = async (later) => {
      asked.push(later);
      const given = options.tokens[Math.min(asked.length, options.tokens.length) - 1];
      if (given === "fails") throw new Error("no token");
      return given;
    };
  }
  window.stop = connect({ ...options, on: (frame) => heard.push(frame), status: (...words) => statuses.push(words),
    onposition: (position) => positions.push(position) });
}"""


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self.done = asyncio.Event()

    async def hears(self, **wanted: Any) -> dict[str, Any]:
        """The next message, which has these members."""
        async with asyncio.timeout(60):
            frame: dict[str, Any] = json.loads(await self._connection.recv())
        assert frame.items() >= wanted.items(), (frame, wanted)
        return frame

    async def says(self, **frame: Any) -> None:
        await self._connection.send(json.dumps(frame))

    async def shows(self, message: dict[str, Any]) -> None:
        preview = binary_preview(json.dumps({"type": "preview", "data": message}).encode())
        assert preview is not None
        await self._connection.send(preview)

    async def welcomes(self, heartbeat_ms: int = 60_000, **subscribe: Any) -> dict[str, Any]:
        """After its auth; returns that. ``subscribe``: what the client asks for then."""
        auth = await self.hears(type="auth")
        await self.says(type="welcome", userId="u", heartbeatMs=heartbeat_ms)
        await self.hears(type="subscribe", **subscribe)
        return auth

    async def closes(self, code: CloseCode) -> None:
        await self._connection.close(code, CLOSE_WORDS[code])

    def vanishes(self) -> None:
        """No good-bye."""
        self._connection.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has left."""
        async with asyncio.timeout(60):
            try:
                while True:
                    await self._connection.recv()
            except ConnectionClosed:
                return


class Host:
    """A server whose next connection the test takes when it comes."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.came = 0
        self._waiting: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: Server | None = None
        self._port = 0

    async def open(self) -> None:
        """Listen, again at the same place."""
        self._server = await serve(self._take, "127.0.0.1", self._port, process_request=_file)
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def close(self) -> None:
        """Every connection, and the door."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _take(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        self.came += 1
        await self._waiting.put(peer)
        await connection.wait_closed()

    async def peer(self) -> Peer:
        async with asyncio.timeout(60):
            return await self._waiting.get()

    async def begin(self, **options: Any) -> Peer:
        """Start the client; its first connection."""
        await self.page.evaluate(BEGIN, {"url": f"ws://127.0.0.1:{self._port}/ws", **options})
        return await self.peer()

    async def says(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def sees(self, expression: str) -> None:
        """Wait until it is true in the page."""
        await self.page.wait_for_function(expression, timeout=60_000)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


def _file(_: ServerConnection, request: Request) -> Response | None:
    """An empty page, and the client; None where a WebSocket is wanted."""
    if request.path == "/ws":
        return None
    kind, body = ("javascript", CLIENT) if request.path == "/live.js" else ("html", b"<!doctype html>")
    about = {"Content-Type": f"text/{kind}", "Content-Length": str(len(body)), "Connection": "close"}
    return Response(200, "OK", Headers(about), body)


@asynccontextmanager
async def host(browser: Browser) -> AsyncIterator[Host]:
    """A page that has ``live.js``, and a server. No error may be left in the page."""
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    made = Host(page)
    await made.open()
    try:
        await page.goto(made.address)
        yield made
        assert not errors
    finally:
        await page.close()
        await made.close()


def event(version: int, position: str, **data: Any) -> dict[str, Any]:
    return {"type": "event", "event": "e", "position": position, "data": {"jobId": "j", "version": version, **data}}


async def test_it_comes_back_with_its_position_and_a_new_token_and_tells_nothing_twice(browser: Browser) -> None:
    async with host(browser) as it:
        first = await it.begin(tokens=["one", "two"], jobId="j", position="0:1:a")
        auth = await first.welcomes(position="0:1:a", jobId="j", previews="binary")
        assert auth["token"] == "one"
        await first.says(type="snapshot", recovered=False, jobs=[{"jobId": "j", "version": 2}], position="0:2:a")
        for frame in (event(2, "0:3:a"), event(3, "0:4:a"), event(3, "0:5:a")):
            await first.says(**frame)
        await first.says(type="ping", position="0:6:a")
        await first.hears(type="pong")
        first.vanishes()
        second = await it.peer()
        assert (await second.welcomes(position="0:6:a", jobId="j"))["token"] == "two"
        await second.says(type="resumed", recovered=True)
        await second.says(**event(3, "0:7:a"))
        await second.says(**event(4, "0:8:a", url="https://videos.test/j"))
        await it.sees("positions.at(-1) === '0:8:a'")
        told = await it.says("heard.filter(({ type }) => type === 'event').map(({ data }) => data.version)")
        assert told == [3, 4]
        assert await it.says("statuses.map(([state]) => state)") == ["connecting", "live", "connecting", "live"]
        assert await it.says("asked") == [False, False]
        await it.says("stop()")
        await second.gone()


async def test_a_token_that_runs_out_is_renewed_in_place(browser: Browser) -> None:
    async with host(browser) as it:
        peer = await it.begin(tokens=["one", "fails", "three"])
        await peer.welcomes()
        await peer.says(type="snapshot", recovered=False, jobs=[])
        await peer.says(type="expiring", expiresInMs=5)
        await it.sees("asked.length === 2")
        await peer.says(type="expiring", expiresInMs=4)
        await peer.hears(type="auth", token="three")
        await peer.says(type="welcome", userId="u", heartbeatMs=60_000)
        await peer.says(type="ping")
        await peer.hears(type="pong")  # and no second subscribe before it
        assert await it.says("asked") == [False, True, True]
        assert it.came == 1


@pytest.mark.parametrize("code", [code for code in CloseCode if code >= 4500])
async def test_a_close_for_good_is_told_with_its_reason_and_nothing_comes_after_it(
    browser: Browser, code: CloseCode
) -> None:
    async with host(browser) as it:
        counted = "class extends WebSocket { constructor(...how) { super(...how); made++; } }"
        await it.page.evaluate(f"window.made = 0; window.WebSocket = {counted}; 0")
        peer = await it.begin(token="one")
        await peer.hears(type="auth", token="one")
        await peer.closes(code)
        await it.sees("statuses.at(-1)[0] === 'closed'")
        assert await it.says("statuses.at(-1)") == ["closed", CLOSE_WORDS[code], int(code)]
        assert await it.says("dispatchEvent(new Event('online')), made") == 1


async def test_without_a_token_the_cookie_counts_and_no_token_of_the_function_is_not_the_cookie(
    browser: Browser,
) -> None:
    async with host(browser) as it:
        peer = await it.begin()
        assert await peer.hears() == {"type": "auth"}
        await it.says("stop()")
        peer = await it.begin(tokens=[None])
        assert await peer.hears() == {"type": "auth", "token": ""}


async def test_no_token_now_is_another_try_later(browser: Browser) -> None:
    async with host(browser) as it:
        await it.begin(tokens=["fails", "two"])
        second = await it.peer()
        assert (await second.welcomes())["token"] == "two"


async def test_silence_is_a_dead_connection(browser: Browser) -> None:
    async with host(browser) as it:
        first = await it.begin()
        await first.welcomes(heartbeat_ms=50)
        second = await it.peer()
        await first.gone()
        await second.welcomes()


async def test_pauses_grow_by_chance_and_whoever_looks_or_is_back_on_the_net_waits_for_none(browser: Browser) -> None:
    async with host(browser) as it:
        await it.page.evaluate(
            "window.pauses = []; const later = setTimeout; window.setTimeout = (what, ms, ...more) =>"
            " (what.name === 'open' ? (pauses.push(ms), later(what, pauses.length < 8 ? 0 : 1e8)) : later(what, ms)); 0"
        )
        first = await it.begin()
        await first.welcomes()
        await it.close()
        await it.sees("pauses.length === 8")
        pauses = await it.says("pauses")
        assert all(0 <= pause <= min(20_000, 500 * 2**number) for number, pause in enumerate(pauses)), pauses
        await it.page.evaluate("Math.random = () => 1; 0")
        await it.open()
        await it.page.evaluate("dispatchEvent(new Event('online'))")
        second = await it.peer()
        await second.welcomes()
        await second.says(type="resumed", recovered=True)
        await it.sees("statuses.at(-1)[0] === 'live'")
        await it.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await second.hears(type="ping")  # is it there still? else it does not wait for the heartbeat
        await second.closes(CloseCode.SLOW)
        await it.sees("pauses.length === 9")
        assert await it.says("pauses.at(-1)") == 20_000  # it did not live long enough to begin again with short ones


async def test_a_picture_is_a_url_until_the_next_one_or_the_end(browser: Browser) -> None:
    there = "(url) => fetch(url).then((answer) => answer.blob()).then(({ type, size }) => [type, size], () => null)"
    message = {"jobId": "j", "attempt": 1, "step": 3, "steps": 9, "jpeg": base64.b64encode(JPEG).decode()}
    async with host(browser) as it:
        peer = await it.begin()
        await peer.welcomes()
        await peer.shows(message)
        await it.sees("heard.at(-1).type === 'preview'")
        first = await it.says("heard.at(-1).data")
        assert first.items() >= {"jobId": "j", "attempt": 1, "step": 3, "steps": 9}.items()
        assert await it.page.evaluate(there, first["image"]) == ["image/jpeg", len(JPEG)]
        picture = "Object.assign(new Image(), { src: heard.at(-1).data.image })"
        assert await it.says(f"{picture}.decode().then(() => 'a picture')") == "a picture"
        await peer.shows({**message, "step": 4})
        await it.sees("heard.at(-1).data.step === 4")
        second = await it.says("heard.at(-1).data.image")
        assert await it.page.evaluate(there, first["image"]) is None
        assert await it.page.evaluate(there, second) == ["image/jpeg", len(JPEG)]
        await peer.says(**event(2, "0:1:a", state="processing"))
        await it.sees("heard.at(-1).type === 'event'")
        assert await it.page.evaluate(there, second) == ["image/jpeg", len(JPEG)], "the picture came before the word"
        await peer.says(**event(3, "0:2:a", state="completed", url="https://videos.test/j"))
        await it.sees("heard.at(-1).data.version === 3")
        assert await it.page.evaluate(there, second) is None
        await peer.shows({**message, "step": 5})
        await it.sees("heard.at(-1).data.step === 5")
        third = await it.says("stop(), heard.at(-1).data.image")
        assert await it.page.evaluate(there, third) is None
