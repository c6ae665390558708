"""HTTP to addresses that strangers chose: names resolved here, once, and the connection made to what was judged.

The judgement stands in the one place that every connection passes, where its socket is made, so that a name which
resolves otherwise a moment later, a number in an odd spelling or a redirect leads nowhere else. No proxy of the
environment, no cookies, no connection used twice; an answer is read to 4 KiB at most, and what comes before it
(interim answers, a head) to 64 KiB.
"""

import asyncio
import functools
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, BinaryIO, Self

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.payload import AsyncIterablePayload, BufferedReaderPayload, Payload
from yarl import URL

from repo.bounded_answers import Bounded
from repo.core.addresses import Rules, is_allowed, wrong_with
from repo.ports import Unavailable

log = structlog.get_logger()

Lookup = Callable[[str, int], list[tuple[Any, ...]]]
Found = list[tuple[Any, ...]] | OSError

READ_MAX = 4 * 1024
LARGE = 64 * 1024  # bytes of a body
LOOKUP_WITHIN_S = 5.0
LOOKUPS = 64  # that somebody waits for, at a time
THREADS = 512  # those that nobody waits for any more as well: a resolver can't be stopped
OF_ONE_DOMAIN = 16  # of them: one domain's name servers hold no more
# One wording for a name that is unknown and for one that is known to us alone: the difference is nobody's business.
NOT_PUBLIC = "does not lead to a public address"


class NotAllowed(OSError):
    """The address is not one that we connect to."""


class LookupsBusy(OSError):
    """No lookup is free at the moment. It says nothing about the name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` None: nothing, and ``error`` says why, in our words.

    ``put_off``: nothing was sent for want of something of ours; it says nothing about the other side. ``barred``: the
    URL, or the address that its host has or lacks, is none that we connect to. ``etag``: as S3 servers name what they
    took.
    """

    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    put_off: bool = False
    barred: bool = field(default=False, compare=False)
    etag: str | None = field(default=None, compare=False)


def system_lookup(host: str, port: int) -> list[tuple[Any, ...]]:
    """The system's resolver. It may take very long."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Resolver(AbstractResolver):
    """Names to judged addresses; one bad address among them condemns the name.

    Each name that is looked up has a thread of its own, however many ask for it: a name server that never answers
    holds those, a bounded number of them for one domain, and none of anybody else's. A lookup counts among ``LOOKUPS``
    for as long as it is waited for, and among ``THREADS`` until the system's resolver gives up.
    """

    def __init__(self, rules: Rules, lookup: Lookup = system_lookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._under_way: dict[tuple[str, int], asyncio.Future[Found]] = {}
        self._waited_for: Counter[tuple[str, int]] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError: ``NotAllowed``, ``LookupsBusy``, or no such name, or no answer in time."""
        try:
            return self._judged(await self._found(host, port), host, port, family)
        except OSError as failure:
            # The precise reason is the operator's alone.
            log.info("a name is not followed", host=host, reason=failure.strerror or str(failure))
            raise

    async def _found(self, host: str, port: int) -> list[tuple[Any, ...]]:
        answer, key = self._looked_up(host, port), (host, port)
        self._waited_for[key] += 1
        try:
            async with asyncio.timeout(LOOKUP_WITHIN_S):
                found = await asyncio.shield(answer)
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from None
        finally:
            self._waited_for[key] -= 1
            if not self._waited_for[key]:
                del self._waited_for[key]
        if isinstance(found, OSError):
            raise found
        return found

    def _judged(
        self, found: list[tuple[Any, ...]], host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        wanted = [one for one in found if family in (socket.AF_UNSPEC, one[0])]
        if any(not is_allowed(one[4][0], self._rules) for one in wanted):
            raise NotAllowed("an address that is private or reserved")
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
        if len(self._waited_for) >= LOOKUPS or len(self._under_way) >= THREADS:
            raise LookupsBusy("too many names are being looked up")
        domain = _domain_of(host)
        if sum(_domain_of(one) == domain for one, _ in self._under_way) >= OF_ONE_DOMAIN:
            raise LookupsBusy("too many names of this domain are being looked up")
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


def _domain_of(host: str) -> str:
    """The last two labels. (Too much for a few registries: then strangers share a bound, and wait a little.)"""
    return ".".join(host.lower().rstrip(".").split(".")[-2:])


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
        # aiohttp has no public way to this; a test holds that it is used.
        factory: Any = functools.partial(Bounded, loop=asyncio.get_running_loop())
        connector._factory = factory  # noqa: SLF001
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
        if len(body) <= LARGE:
            return await self._send("POST", url, headers, body)
        sized = {**headers, "Content-Length": str(len(body))}
        return await self._send("POST", url, sized, AsyncIterablePayload(_pieces(body)))

    async def put(self, url: str, headers: Mapping[str, str], file: BinaryIO) -> Answer:
        """As ``post``, the file from where it stands to its end; it is closed afterwards. The URL goes out exactly as
        it is written: a signature covers it."""
        return await self._send("PUT", url, headers, BufferedReaderPayload(file, filename=None))

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Payload) -> Answer:
        wrong = wrong_with(url, self._rules)
        if wrong is not None:
            return Answer(error=f"the URL {wrong}", barred=True)
        try:
            to = URL(url, encoded=method == "PUT")
            sending = self._session.request(method, to, data=body, headers=dict(headers), allow_redirects=False)
            async with sending as response:
                await _drain(response)
                said = response.headers
                return Answer(status=response.status, retry_after=said.get("Retry-After"), etag=said.get("ETag"))
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            words, busy = self.words(failure), isinstance(getattr(failure, "os_error", failure), LookupsBusy)
            return Answer(error=words, put_off=busy, barred=words.endswith(NOT_PUBLIC))

    def get(self, url: str, *, silent_s: float) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The answer as it comes, for as long as bytes do: none for ``silent_s`` ends it. No redirect is followed.

        Whoever calls has looked at the URL (``wrong_with``). Entering and reading raise what ``words`` explains.
        """
        patience = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=silent_s)
        return self._session.get(URL(url, encoded=True), allow_redirects=False, timeout=patience)

    def words(self, failure: Exception) -> str:
        """Why there is no answer. Nothing that the other side, or a library, has said."""
        cause = getattr(failure, "os_error", failure)
        match failure:
            case _ if isinstance(cause, NotAllowed):
                return f"the host {NOT_PUBLIC}"
            case _ if isinstance(cause, LookupsBusy):
                return "no lookup of names was free"
            case TimeoutError():
                return f"no answer within {self._timeout_s:g} s"
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
                return "TLS failed: is the certificate valid?"
            case aiohttp.ClientConnectorDNSError():
                return f"the host {NOT_PUBLIC}"
            case aiohttp.ClientConnectorError():
                return "could not connect"
            case aiohttp.InvalidURL():
                return "the URL is not valid"
            case _:
                return "the connection broke, or the answer was no HTTP"

    def _make_socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(address[0], self._rules):
            log.info("an address is not connected to", address=str(address[0]))
            raise NotAllowed("an address that is private or reserved")
        return socket.socket(family, kind, protocol)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """What is large goes out as fast as the other side takes it, and is not copied as a whole."""
    for at in range(0, len(body), LARGE):
        yield body[at : at + LARGE]


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
    """What is wrong with an endpoint's URL at this moment, as words that follow its name; None where nothing is.

    Raises ``Unavailable`` where no lookup is free: nothing is known about the URL then.
    """
    wrong = wrong_with(url, rules)
    if wrong is not None:
        return wrong
    read = URL(url)
    try:
        await resolver.resolve(read.raw_host or "", read.port or 0)
    except LookupsBusy as busy:
        raise Unavailable("names", str(busy)) from busy
    except OSError:
        return NOT_PUBLIC
    return None
