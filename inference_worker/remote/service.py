"""A RunPod endpoint over HTTP: submit, look, cancel, and whether it takes our key. The operator names the address.

Nothing raises for what the other side does or does not: every call ends in a ``Reply``. The key is in a header that
nothing logs, and goes nowhere else: no redirect is followed, no proxy of the environment used.
"""

from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from inference_worker.core.runpod_answers import Reply

ANSWER_MAX = 4 * 1024 * 1024  # bytes; a status with a video's address is a few hundred
READ_AT_ONCE = 64 * 1024
WITHIN_S = 20.0


class Service:
    """``async with Service(url, endpoint, key) as service``. ``target`` names address and endpoint."""

    def __init__(self, url: str, endpoint: str, key: str, *, within_s: float = WITHIN_S) -> None:
        self.endpoint = endpoint
        self.target = f"{url.rstrip('/')}/{endpoint}"
        self._key = key
        self._within_s = within_s

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._within_s, sock_connect=self._within_s / 2),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def run(self, body: dict[str, Any]) -> Reply:
        """``POST /run``."""
        return await self._ask("POST", "run", orjson.dumps(body))

    async def status(self, remote_id: str) -> Reply:
        """``GET /status/{id}``."""
        return await self._ask("GET", f"status/{remote_id}")

    async def cancel(self, remote_id: str) -> Reply:
        """``POST /cancel/{id}``."""
        return await self._ask("POST", f"cancel/{remote_id}", b"")

    async def health(self) -> Reply:
        """``GET /health``: the cheapest question that asks for the key."""
        return await self._ask("GET", "health")

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> Reply:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            asking = self._session.request(
                method, URL(f"{self.target}/{path}", encoded=True), data=body, headers=headers, allow_redirects=False
            )
            async with asking as response:
                return Reply(response.status, await _read(response), _retry_after_ms(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            return Reply(None, sent=False, words="RunPod can't be reached")
        except TimeoutError:
            return Reply(None, words=f"RunPod did not answer within {self._within_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError):
            return Reply(None, words="the connection to RunPod broke")


async def _read(response: aiohttp.ClientResponse) -> Any:
    """The answer's JSON; None where it is none, or too large."""
    text = bytearray()
    while chunk := await response.content.read(READ_AT_ONCE):
        text += chunk
        if len(text) > ANSWER_MAX:
            return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _retry_after_ms(response: aiohttp.ClientResponse) -> int | None:
    """``Retry-After`` in seconds; its other form, a date, is not used by what we ask."""
    given = response.headers.get("Retry-After", "").strip()
    return int(given) * 1000 if given.isdecimal() and len(given) < 7 else None
