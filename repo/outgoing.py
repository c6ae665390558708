"""HTTP to addresses that strangers chose: names resolved here, once, and the connection made to what was judged.

The judgement stands in the one place that every connection passes, where its socket is made, so that a name which
resolves otherwise a moment later, a number in an odd spelling or a redirect leads nowhere else. No proxy of the
environment, no cookies, no connection used twice; an answer is read to 4 KiB at most.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from repo.core.addresses import Rules, is_allowed, wrong_with

Lookup = Callable[[str, int], list[tuple[Any, ...]]]
Found = list[tuple[Any, ...]] | OSError

READ_MAX = 4 * 1024
LOOKUP_WITHIN_S = 5.0
LOOKUPS = 64  # at a time
NOT_PUBLIC = "leads to an address that is private or reserved"


class NotAllowed(OSError):
    """The address is not one that we connect to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` None: nothing, and ``error`` says why, in our words."""

    status: int | None = None
    error: str | None = None
    retry_after: str | None = None


def system_lookup(host: str, port: int) -> list[tuple[Any, ...]]:
    """The system's resolver. It may take very long."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Resolver(AbstractResolver):
    """Names to judged addresses; one bad address among them condemns the name.

    Each name that is looked up has a thread of its own, however many ask for it: a name server that never answers
    holds those, and none of anybody else's.
    """

    def __init__(self, rules: Rules, lookup: Lookup = system_lookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._under_way: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError: ``NotAllowed``, or no such name, or no answer in time."""
        try:
            async with asyncio.timeout(LOOKUP_WITHIN_S):
                found = await asyncio.shield(self._looked_up(host, port))
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from None
        if isinstance(found, OSError):
            raise found
        wanted = [one for one in found if family in (socket.AF_UNSPEC, one[0])]
        if any(not is_allowed(one[4][0], self._rules) for one in wanted):
            raise NotAllowed(NOT_PUBLIC)
        if not wanted:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [
            ResolveResult(
                hostname=host, host=one[4][0], port=port, family=one[0], proto=one[2], flags=socket.AI_NUMERICHOST
            )
            for one in wanted
        ]

    async def close(self) -> None:
        """Nothing is kept."""

    def _looked_up(self, host: str, port: int) -> "asyncio.Future[Found]":
        """The answer of the lookup that is under way, or of a new one. Raises OSError where too many are."""
        known = self._under_way.get((host, port))
        if known is not None:
            return known
        if len(self._under_way) >= LOOKUPS:
            raise socket.gaierror(socket.EAI_AGAIN, "too many names are being looked up")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        self._under_way[host, port] = answer

        def tell(found: Found) -> None:
            del self._under_way[host, port]
            answer.set_result(found)

        def look() -> None:
            found = looked_up(self._lookup, host, port)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, found)

        threading.Thread(target=look, name="lookup", daemon=True).start()
        return answer


def looked_up(lookup: Lookup, host: str, port: int) -> Found:
    """What the resolver says, in whichever way."""
    try:
        return lookup(host, port)
    except OSError as failure:
        return failure
    except UnicodeError:  # a label that IDNA does not take
        return socket.gaierror(socket.EAI_NONAME, "no name")


class Outgoing:
    """``async with Outgoing(rules) as outgoing``. ``tls``: whom to trust besides the system's authorities."""

    def __init__(
        self,
        rules: Rules,
        *,
        timeout_s: float = 15.0,
        lookup: Lookup = system_lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self.resolver = Resolver(rules, lookup)
        self._tls = tls

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=self.resolver,
            socket_factory=self._make_socket,
            use_dns_cache=False,
            force_close=True,
            limit=0,  # whoever sends bounds how much
            ssl=self._tls or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers={"Accept", "Accept-Encoding"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send it, once. Never raises for what the other side does; its words are looked at no further."""
        wrong = wrong_with(url, self._rules)
        if wrong is not None:
            return Answer(error=f"the URL {wrong}")
        try:
            posting = self._session.post(URL(url), data=body, headers=dict(headers), allow_redirects=False)
            async with posting as response:
                await _drain(response)
                return Answer(status=response.status, retry_after=response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return Answer(error=self._words(failure))

    def _words(self, failure: Exception) -> str:
        """Why there is no answer. Nothing that the other side, or a library, has said."""
        cause = getattr(failure, "os_error", failure)
        match failure:
            case _ if isinstance(cause, NotAllowed):
                return f"the host {NOT_PUBLIC}"
            case TimeoutError():
                return f"no answer within {self._timeout_s:g} s"
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return "TLS failed: is the certificate valid?"
            case aiohttp.ClientConnectorDNSError():
                return "the host's name can't be resolved"
            case aiohttp.ClientConnectorError():
                return "could not connect"
            case aiohttp.InvalidURL():
                return "the URL is not valid"
            case _:
                return "the connection broke, or the answer was no HTTP"

    def _make_socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(address[0], self._rules):
            raise NotAllowed(NOT_PUBLIC)
        return socket.socket(family, kind, protocol)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """A little of the answer, for the sake of servers that want it read. The status is what counts, and is there."""
    left = READ_MAX
    with suppress(aiohttp.ClientError, OSError, ValueError):
        while left > 0:
            chunk = await response.content.read(left)
            if not chunk:
                return
            left -= len(chunk)


async def wrong_with_url(url: str, rules: Rules, resolver: Resolver) -> str | None:
    """What is wrong with an endpoint's URL at this moment, as words that follow its name; None where nothing is."""
    wrong = wrong_with(url, rules)
    if wrong is not None:
        return wrong
    read = URL(url)
    try:
        await resolver.resolve(read.raw_host or "", read.port or 0)
    except NotAllowed:
        return NOT_PUBLIC
    except OSError:
        return "names a host that can't be resolved"
    return None
