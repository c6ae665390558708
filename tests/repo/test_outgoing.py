"""Requests to strangers' addresses, against real servers on the loopback address that stand for the world."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler

from repo.bounded_answers import BEFORE_ANSWER_MAX, INTERIM_MAX
from repo.core.addresses import Rules, read_networks
from repo.outgoing import (
    NOT_PUBLIC,
    OF_ONE_DOMAIN,
    Answer,
    LookupsBusy,
    Outgoing,
    Resolver,
    wrong_with_url,
)
from repo.ports import Unavailable
from tests.servers import closed_port
from tests.streams.post import until

LOOPBACK = Rules(allow_http=True, networks=read_networks("127.0.0.0/8"))
PUBLIC_ONLY = Rules(allow_http=True)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A web server on a free port of the loopback address."""
    app = web.Application(client_max_size=2**20)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def says(*addresses: str) -> Callable[[str, int], list[tuple[Any, ...]]]:
    """A resolver's answer."""

    def lookup(_host: str, port: int) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    return lookup


async def ok(_: web.Request) -> web.StreamResponse:
    return web.Response(text="fine")


async def test_what_is_sent_arrives_and_nothing_else() -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return web.Response(status=202, headers={"Retry-After": "7", "Set-Cookie": "a=b"})

    async with serving(note) as port, Outgoing(LOOPBACK) as outgoing:
        url = f"http://127.0.0.1:{port}/hook?key=1"
        for _ in range(2):
            answer = await outgoing.post(url, {"webhook-id": "m", "Content-Type": "application/json"}, b"{}")
            assert answer == Answer(status=202, retry_after="7")
    assert [(method, path, body) for method, path, _, body in seen] == [("POST", "/hook?key=1", b"{}")] * 2
    assert all({name.lower() for name in headers} <= ALLOWED for _, _, headers, _ in seen), seen


ALLOWED = {"host", "webhook-id", "content-type", "content-length", "user-agent", "connection"}


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1"])
async def test_a_name_that_leads_to_a_private_address_is_not_followed(address: str) -> None:
    async with serving(_never) as port, Outgoing(PUBLIC_ONLY, lookup=says(address)) as outgoing:
        answer = await outgoing.post(f"http://inside.example:{port}/", {}, b"")
    assert answer == Answer(error=f"the host {NOT_PUBLIC}")


async def test_one_private_address_among_public_ones_condemns_the_name() -> None:
    async with serving(_never) as port, Outgoing(PUBLIC_ONLY, lookup=says("8.8.8.8", "127.0.0.1")) as outgoing:
        answer = await outgoing.post(f"http://both.example:{port}/", {}, b"")
    assert answer == Answer(error=f"the host {NOT_PUBLIC}")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_neither_is_an_address_or_the_systems_own_name(host: str) -> None:
    async with serving(_never) as port, Outgoing(PUBLIC_ONLY) as outgoing:
        answer = await outgoing.post(f"http://{host}:{port}/", {}, b"")
    assert answer == Answer(error=f"the host {NOT_PUBLIC}")


async def test_a_name_that_resolves_otherwise_a_moment_later_leads_nowhere() -> None:
    """Rebinding: public when it is looked at, the loopback address when it is sent to."""
    answers = [says("93.184.216.34"), says("127.0.0.1")]

    def rebinding(host: str, port: int) -> list[tuple[Any, ...]]:
        return answers.pop(0)(host, port)

    async with serving(_never) as port, Outgoing(PUBLIC_ONLY, lookup=rebinding) as outgoing:
        url = f"http://rebinding.example:{port}/"
        assert await wrong_with_url(url, PUBLIC_ONLY, outgoing.resolver) is None
        assert await outgoing.post(url, {}, b"") == Answer(error=f"the host {NOT_PUBLIC}")
    assert not answers, "one lookup for the check, one for the try: the connection is made to what was judged"


async def test_the_socket_itself_is_the_last_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even were the resolver led astray, no socket is made to a private address."""
    async with serving(_never) as port, Outgoing(PUBLIC_ONLY) as outgoing:

        async def led_astray(host: str, port: int = 0, family: Any = 0) -> Any:
            return [
                {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            ]

        monkeypatch.setattr(outgoing.resolver, "resolve", led_astray)
        answer = await outgoing.post(f"http://astray.example:{port}/", {}, b"")
    assert answer == Answer(error=f"the host {NOT_PUBLIC}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    paths: list[str] = []

    async def away(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with serving(away) as port, Outgoing(LOOPBACK) as outgoing:
        assert await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"x") == Answer(status=status)
    assert paths == ["/"]


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(_never) as proxy, serving(ok) as port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        async with Outgoing(LOOPBACK) as outgoing:
            assert (await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"")).status == 200


async def test_who_never_answers_is_given_up() -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(silent) as port, Outgoing(LOOPBACK, timeout_s=0.3) as outgoing:
        answer = await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"")
    assert answer == Answer(error="no answer within 0.3 s")


async def test_an_endless_answer_is_cut_and_its_status_counts() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    async with serving(endless) as port, Outgoing(LOOPBACK) as outgoing:
        assert await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"") == Answer(status=200)
    assert sent < 64 * 2**20


async def test_a_body_that_drips_counts_by_its_status() -> None:
    async def dripping(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(dripping) as port, Outgoing(LOOPBACK, timeout_s=0.3) as outgoing:
        assert await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"") == Answer(status=200)


async def test_what_is_no_http_is_said_in_our_own_words() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP secret-banner\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with Outgoing(LOOPBACK) as outgoing:
            plain = await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"")
            secure = await outgoing.post(f"https://127.0.0.1:{port}/", {}, b"")
            nobody = await outgoing.post(f"http://127.0.0.1:{closed_port()}/", {}, b"")
    finally:
        server.close()
    assert plain == Answer(error="the connection broke, or the answer was no HTTP")
    assert secure.error is not None
    assert "secret" not in f"{plain}{secure}"
    assert nobody == Answer(error="could not connect")


async def test_names_that_are_none() -> None:
    def unknown(_host: str, _port: int) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with Outgoing(PUBLIC_ONLY, lookup=unknown) as outgoing:
        assert await outgoing.post("http://nowhere.example/", {}, b"") == Answer(error=f"the host {NOT_PUBLIC}")
        wrong = await wrong_with_url("http://nowhere.example/", PUBLIC_ONLY, outgoing.resolver)
        assert wrong == NOT_PUBLIC, "as for a name of ours: who asks learns no name of the inside"
        assert await wrong_with_url("http://inside.example", PUBLIC_ONLY, Resolver(PUBLIC_ONLY, says("10.0.0.1"))) == (
            NOT_PUBLIC
        )
        assert await outgoing.post("https://user:pw@x.example/", {}, b"") == Answer(
            error="the URL must not carry a user or a password"
        )


async def test_name_servers_that_never_answer_hold_one_thread_a_name_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("repo.outgoing.LOOKUP_WITHIN_S", 0.05)
    monkeypatch.setattr("repo.outgoing.LOOKUPS", 3)
    go_on, asked = threading.Event(), []

    def tarpit(host: str, port: int) -> list[tuple[Any, ...]]:
        asked.append(host)
        if host.startswith("slow"):
            go_on.wait(30)
        return says("8.8.8.8")(host, port)

    resolver = Resolver(PUBLIC_ONLY, tarpit)
    try:
        for name in ("slow1", "slow1", "slow2", "slow1"):
            with pytest.raises(socket.gaierror, match="no answer in time"):
                await resolver.resolve(name, 443)
        assert asked == ["slow1", "slow2"]
        assert (await resolver.resolve("quick", 443))[0]["host"] == "8.8.8.8"
        with pytest.raises(socket.gaierror, match="no answer in time"):
            await resolver.resolve("slow3", 443)
        assert (await resolver.resolve("quick", 443))[0]["host"] == "8.8.8.8", "who gave up waiting holds no place"
        monkeypatch.setattr("repo.outgoing.THREADS", 3)
        with pytest.raises(LookupsBusy, match="too many"):
            await resolver.resolve("quick", 443)
        with pytest.raises(Unavailable):
            await wrong_with_url("https://quick.example/", PUBLIC_ONLY, resolver)
    finally:
        go_on.set()
    async with asyncio.timeout(20):
        while True:
            try:
                assert (await resolver.resolve("slow1", 443))[0]["host"] == "8.8.8.8"
                return
            except socket.gaierror:
                await asyncio.sleep(0.005)


async def test_one_domain_has_a_bound_of_its_own_and_a_full_one_is_no_failed_try() -> None:
    go_on, asked = threading.Event(), 0

    def tarpit(host: str, port: int) -> list[tuple[Any, ...]]:
        nonlocal asked
        asked += 1
        if host.endswith("evil.example"):
            go_on.wait(30)
        return says("10.0.0.1")(host, port)

    async with Outgoing(PUBLIC_ONLY, lookup=tarpit) as outgoing:
        waiting = [
            asyncio.create_task(outgoing.post(f"http://n{number}.evil.example/", {}, b""))
            for number in range(OF_ONE_DOMAIN)
        ]
        try:
            await until(lambda: asked == OF_ONE_DOMAIN)
            full = await outgoing.post("http://one.more.evil.example/", {}, b"")
            assert full == Answer(error="no lookup of names was free", put_off=True)
            assert await outgoing.post("http://n1.good.example2/", {}, b"") == Answer(error=f"the host {NOT_PUBLIC}")
        finally:
            go_on.set()
            await asyncio.gather(*waiting)


@asynccontextmanager
async def talking(piece: bytes, times: int, last: bytes) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that says this so often, and then the last; its port, and what it could write."""
    written: list[int] = [0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(times):
                writer.write(piece)
                await writer.drain()
                written[0] += len(piece)
            writer.write(last)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], written
    finally:
        server.close()


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 8000 + b"\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("piece", [CONTINUE, CONTINUE * 4000, HINTS, HINTS * 30])
async def test_interim_answers_without_end_are_cut(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    received = 0
    read = ResponseHandler.data_received

    def counting(self: ResponseHandler, data: bytes) -> None:
        nonlocal received
        received += len(data)
        read(self, data)

    monkeypatch.setattr(ResponseHandler, "data_received", counting)
    async with talking(piece, 2**40, b"") as (port, _), Outgoing(LOOPBACK) as outgoing:
        answer = await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert answer == Answer(error="the connection broke, or the answer was no HTTP")
    assert 0 < received <= BEFORE_ANSWER_MAX + 4096, "what was looked at"


@pytest.mark.parametrize("piece", [CONTINUE, HINTS[:4000] + b"\r\n\r\n"])
async def test_a_few_interim_answers_are_skipped(piece: bytes) -> None:
    async with talking(piece, INTERIM_MAX, FINE) as (port, written), Outgoing(LOOPBACK) as outgoing:
        assert await outgoing.post(f"http://127.0.0.1:{port}/", {}, b"{}") == Answer(status=200)
    assert written == [INTERIM_MAX * len(piece)]


async def _never(_: web.Request) -> web.StreamResponse:
    raise AssertionError("somebody got in")
