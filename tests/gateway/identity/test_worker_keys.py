"""A worker's key opens its endpoint's jobs, and nothing else; nothing else opens those."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from starlette.requests import HTTPConnection
from starlette.routing import Mount, Route

from gateway.identity.accounts import Accounts
from gateway.identity.auth import DAY_MS, Authenticator
from gateway.identity.keys import new_key
from gateway.workers import routes as protocol
from repo.clock import now_ms
from repo.memory import MemoryAccessStore, MemoryJobStore
from repo.ports import Unavailable
from schemas.access import KeyKind, Scope
from schemas.accounts import Role
from schemas.endpoints import EndpointKind, ServerlessEndpoint, external_pool
from tests.gateway.world import ORIGIN, World, settings

ECHO = ServerlessEndpoint(
    endpoint_id="echo", kind=EndpointKind.EXTERNAL, pool=external_pool("echo"), version=1, created_at=0, updated_at=0
)
EVERYTHING = {"role": Role.ADMIN, "scopes": tuple(Scope)}
OTHERS = [kind for kind in KeyKind if kind is not KeyKind.WORKER]


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryAccessStore:
    return MemoryAccessStore()


@pytest.fixture
def auth(store: MemoryAccessStore, clock: Clock) -> Authenticator:
    return Authenticator(store, Accounts(MemoryJobStore(), clock, Role.ADMIN), settings(), clock)


def shown(header: str | None = None, cookie: str | None = None) -> HTTPConnection:
    headers = [(b"host", b"videos.test")]
    headers += [(b"authorization", header.encode())] if header is not None else []
    headers += [(b"cookie", cookie.encode())] if cookie is not None else []
    return HTTPConnection({"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": headers})


async def test_it_stands_for_no_caller_whatever_is_stored_of_it(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    """Should a fault give it a user, a role and scopes: its kind alone decides."""
    secret, key = new_key("ada", now=clock.now, kind=KeyKind.WORKER, endpoint="echo", **EVERYTHING)  # type: ignore[arg-type]
    await store.store_api_key(key)
    assert await auth.by_secret(secret) is None
    assert await auth.by_hash(key.key_hash) is None
    assert await auth.by_ticket(secret) is None
    assert await auth.open_session(secret) is None
    assert await auth.of_handshake(shown(secret)) is None
    assert await auth.of_handshake(shown(f"Bearer {secret}")) is None
    assert await auth.of_handshake(shown(cookie=f"{auth.cookie}={secret}")) is None
    assert await auth.is_worker(shown(secret), "echo"), "none of this has used it up"


async def test_no_ticket_made_with_it_opens_a_socket(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    _, key = new_key("ada", now=clock.now, kind=KeyKind.WORKER, endpoint="echo", **EVERYTHING)  # type: ignore[arg-type]
    ticket, stored = new_key("ada", now=clock.now, kind=KeyKind.TICKET, parent_hash=key.key_hash)
    for one in (key, stored):
        await store.store_api_key(one)
    assert await auth.by_ticket(ticket) is None


async def test_it_is_shown_raw_or_as_a_bearer_and_in_no_other_way(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    secret, key = new_key("endpoint:echo", now=clock.now, kind=KeyKind.WORKER, endpoint="echo")
    await store.store_api_key(key)
    for header in (secret, f"Bearer {secret}", f"bearer  {secret} "):
        assert await auth.is_worker(shown(header), "echo"), header
    for header in ("", "Bearer", f"Basic {secret}", f"{secret[:-1]}", f"{secret}x", key.key_hash, f"{secret} {secret}"):
        assert not await auth.is_worker(shown(header), "echo"), header
    assert not await auth.is_worker(shown(cookie=f"{auth.cookie}={secret}"), "echo")
    assert not await auth.is_worker(shown(), "echo")


@pytest.mark.parametrize("endpoint_id", ["echo-2", "ech", "", "Echo", "echo ", "*", "mochi-1"])
async def test_it_opens_one_endpoint(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock, endpoint_id: str
) -> None:
    secret, key = new_key("endpoint:echo", now=clock.now, kind=KeyKind.WORKER, endpoint="echo")
    bare, homeless = new_key("endpoint:echo", now=clock.now, kind=KeyKind.WORKER)
    for one in (key, homeless):
        await store.store_api_key(one)
    assert not await auth.is_worker(shown(secret), endpoint_id)
    assert not await auth.is_worker(shown(bare), endpoint_id)
    assert not await auth.is_worker(shown(bare), "echo")


@pytest.mark.parametrize("kind", OTHERS)
async def test_no_key_of_another_kind_is_a_workers(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock, kind: KeyKind
) -> None:
    secret, key = new_key("ada", now=clock.now, kind=kind, endpoint="echo", **EVERYTHING)  # type: ignore[arg-type]
    await store.store_api_key(key)
    assert not await auth.is_worker(shown(secret), "echo")
    assert await store.api_key(key.key_hash) == key, "and what opens once still does"


async def test_it_ends_when_it_is_revoked_or_expires(
    auth: Authenticator, store: MemoryAccessStore, clock: Clock
) -> None:
    secret, key = new_key("e", now=clock.now, kind=KeyKind.WORKER, endpoint="echo", expires_at=clock.now + DAY_MS)
    await store.store_api_key(key)
    assert await auth.is_worker(shown(secret), "echo")
    clock.now += DAY_MS
    assert not await auth.is_worker(shown(secret), "echo")
    await store.store_api_key(replace(key, expires_at=None))
    clock.now += 30_000
    assert await auth.is_worker(shown(secret), "echo")
    await store.revoke_api_key(key.key_hash, clock.now)
    clock.now += 30_000
    assert not await auth.is_worker(shown(secret), "echo")
    store.away = True
    clock.now += 30_000
    with pytest.raises(Unavailable):
        await auth.is_worker(shown(secret), "echo")


# ---- over HTTP, every route there is


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PAUSE_S", 0)


@asynccontextmanager
async def showing(world: World, header: str | None) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
    headers = {} if header is None else {"Authorization": header}
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as http:
        yield http


def paths(found: list[object]) -> list[tuple[str, str]]:
    """Method and path of every route, with names in the place of parameters."""
    names = {"endpoint_id": "echo", "pod_id": "pod-1"}
    told = []
    for route in found:
        assert isinstance(route, Route | Mount) or type(route).__name__ == "WebSocketRoute"
        if isinstance(route, Route):
            values = {name: names.get(name, "nothing") for name in route.param_convertors}
            path = route.path_format.format(**values)
            told += [(method, path) for method in sorted(route.methods or ())]
    return told


async def worker_key(world: World, endpoint_id: str = "echo") -> str:
    return await world.key(f"endpoint:{endpoint_id}", kind=KeyKind.WORKER, endpoint=endpoint_id, **EVERYTHING)


async def test_to_every_other_route_its_holder_is_nobody(world: World) -> None:
    await world.database.endpoints.store_endpoint(ECHO, 0)
    of_workers = set(paths(list(protocol.ROUTES)))
    others = [one for one in paths(list(world.app.routes)) if one not in of_workers]
    assert len(others) > 30
    secret = await worker_key(world)
    async with showing(world, None) as nobody, showing(world, secret) as raw, showing(world, f"Bearer {secret}") as it:
        protected = 0
        for method, path in others:
            expected = await nobody.request(method, path, content=b"{}")
            for http in (raw, it):
                answer = await http.request(method, path, content=b"{}")
                assert answer.status_code == expected.status_code, f"{method} {path}"
            protected += expected.status_code == 401
    assert protected > 20


async def test_to_the_workers_routes_everybody_else_is_nobody(world: World) -> None:
    await world.database.endpoints.store_endpoint(ECHO, 0)
    headers: list[str | None] = [None, await world.key("ada", **EVERYTHING), await worker_key(world, "echo-2")]
    headers += [await world.key("ada", kind=kind, endpoint="echo", **EVERYTHING) for kind in OTHERS]
    for header in headers:
        async with showing(world, header) as http:
            for method, path in paths(list(protocol.ROUTES)):
                answer = await http.request(method, path, content=b"{}")
                assert answer.status_code == 401, f"{method} {path}"


async def test_it_is_good_for_as_long_as_its_endpoint_has_workers_of_others(world: World) -> None:
    secret = await worker_key(world)
    ping = ("GET", "/v2/echo/ping/pod-1")

    async def status(endpoint: ServerlessEndpoint | None) -> int:
        if endpoint is not None:
            stored = await world.database.endpoints.endpoint("echo")
            before = stored.version if stored else 0
            await world.database.endpoints.store_endpoint(replace(endpoint, version=before + 1), before)
        world.parts.serverless.endpoints._known.clear()
        world.parts.serverless.endpoints._unknown.clear()
        async with showing(world, secret) as http:
            return (await http.request(*ping)).status_code

    assert await status(None) == 404
    assert await status(ECHO) == 200
    assert await status(replace(ECHO, deleted_at=now_ms())) == 200, "the jobs that it still has go on"
    assert await status(replace(ECHO, kind=EndpointKind.ENGINE, pool="mochi-1")) == 404
