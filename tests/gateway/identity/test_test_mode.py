"""The test mode: who shows nothing is the fixed user, who shows something wrong is nobody; never in production."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import HTTPConnection

from gateway.identity.principal import Way
from gateway.settings import GatewaySettings
from repo.environment import SettingsError
from schemas.accounts import Role
from schemas.api.live import CloseCode
from tests.gateway.clerk import SECRET
from tests.gateway.sockets import serving, socket
from tests.gateway.test_main import answer, nowhere, output, process, ready
from tests.gateway.world import ORIGIN, World, eventually, job, settings, started
from tests.servers import closed_port

USER = "test-user-videos-integration"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started(settings(test_mode=True)) as made:
        await made.store.store_job(job("t-1", USER), 0)
        yield made


async def asked(world: World, method: str = "GET", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as http:
        return await http.request(method, "/api/videos", json=None if method == "GET" else {"jobIds": ["not-there"]})


async def test_who_shows_nothing_is_the_fixed_user_and_who_shows_a_key_is_its_user(world: World) -> None:
    assert [row["jobId"] for row in (await asked(world)).json()] == ["t-1"]
    assert (await asked(world, Cookie="other=1")).status_code == 200
    key = await world.key("ada")
    assert (await asked(world, Authorization=f"Bearer {key}")).json() == []


async def test_a_wrong_credential_is_still_refused(world: World) -> None:
    for headers in (
        {"Authorization": "Bearer ov_" + "a" * 43}, {"Authorization": ""}, {"Authorization": "Basic dTpw"},
        {"Cookie": f"{world.parts.auth.cookie}=ov_{'a' * 43}"},
    ):  # fmt: skip
        assert (await asked(world, **headers)).status_code == 401, headers


async def test_pages_of_others_do_not_act_as_the_fixed_user(world: World) -> None:
    for origin, status in (("https://evil.example", 403), ("null", 403), (ORIGIN, 200)):
        assert (await asked(world, "DELETE", Origin=origin)).status_code == status
    assert (await asked(world, "DELETE")).status_code == 200, "a program sends no origin"


async def test_a_name_of_somebody_elses_that_leads_here_is_not_ours(world: World) -> None:
    """DNS rebinding: a page of that name is of the same origin, so its requests carry no foreign one."""
    for host, status in (("evil.example", 401), ("evil.example:8000", 401), ("127.0.0.1:8000", 200)):
        assert (await asked(world, Host=host)).status_code == status
    key = await world.key("ada")
    assert (await asked(world, Host="evil.example", Authorization=f"Bearer {key}")).status_code == 200


async def test_a_socket_that_shows_nothing_is_the_fixed_users(world: World) -> None:
    async with serving(world) as address:
        async with socket(address) as one:
            await one.send(type="auth")
            assert (await one.receive())["type"] == "welcome"
            await one.send(type="subscribe")
            (snapshot,) = await one.until(lambda frame: frame["type"] == "snapshot")
            assert [row["jobId"] for row in snapshot["jobs"]] == ["t-1"]
        async with socket(address) as one:
            await one.send(type="auth", token="wrong")
            assert await one.closed() == CloseCode.UNAUTHORIZED


async def test_the_user_and_its_role_may_be_named() -> None:
    async with started(settings(test_mode=True, test_user="tina", test_role="admin")) as world:
        assert (await asked(world)).json() == []
        scope = {"type": "http", "method": "GET", "headers": [(b"host", b"localhost")], "scheme": "http", "path": "/"}
        caller = await world.parts.auth.of_request(HTTPConnection(scope))
        assert (caller.user_id, caller.role, caller.way) == ("tina", Role.ADMIN, Way.TEST)


async def test_without_it_who_shows_nothing_is_nobody() -> None:
    async with started() as world:
        assert (await asked(world)).status_code == 401


async def test_it_does_not_start_in_production_and_says_so_in_one_sentence() -> None:
    async with process(nowhere(), test_mode="true", env="production") as running:
        async with asyncio.timeout(60):
            said = await output(running)
    assert running.returncode == 1
    assert said.count("\n") == 1
    assert "OPENV_TEST_MODE" in said
    assert "OPENV_ENV=production" in said


async def test_elsewhere_it_starts_with_a_warning() -> None:
    port = closed_port()
    async with process(nowhere(), port=port, test_mode="true", test_user="tina", log_format="json") as running:
        await ready(port, 503)

        async def let_in() -> bool:
            said = await answer(port, "/api/videos")
            return said is not None and said.status_code == 503  # not 401: the user is known, MongoDB is not there

        await eventually(let_in, 40)
        running.terminate()
        async with asyncio.timeout(20):
            said = await output(running)
    (line,) = [line for line in said.splitlines() if '"test_mode"' in line]
    assert '"level":"warning"' in line.replace(" ", "")
    assert "tina" in line


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"env": "PRODUCTION ", "test_mode": True}, "OPENV_ENV=production forbids"),
        ({"env": "prod"}, "OPENV_ENV is not valid"),
        ({"test_user": "../admin"}, "OPENV_TEST_USER is not valid: a user id"),
        ({"clerk_issuer": "http://clerk.example.org"}, "OPENV_CLERK_ISSUER is not valid: keys that come over plain"),
        ({"clerk_issuer": "clerk.example.org"}, "OPENV_CLERK_ISSUER is not valid: an address"),
        ({"clerk_jwks_url": "file:///etc/passwd"}, "OPENV_CLERK_JWKS_URL is not valid: an address"),
        ({"clerk_webhook_secret": f"{SECRET},whsec_"}, "OPENV_CLERK_WEBHOOK_SECRET is not valid: copy"),
        ({"clerk_webhook_secret": f"{SECRET[:-4]}!!!!{SECRET[-4:]}"}, "OPENV_CLERK_WEBHOOK_SECRET is not valid: copy"),
        ({"clerk_webhook_secret": SECRET[:20]}, "OPENV_CLERK_WEBHOOK_SECRET is not valid: copy"),
        ({"clerk_webhook_secret": SECRET.removeprefix("whsec_")}, "OPENV_CLERK_WEBHOOK_SECRET is not valid: copy"),
    ],
)
def test_settings_that_would_be_a_trap_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        GatewaySettings(**given)


def test_where_the_keys_are() -> None:
    assert GatewaySettings(clerk_issuer="https://clerk.example.org/").jwks_url == (
        "https://clerk.example.org/.well-known/jwks.json"
    )
    elsewhere = GatewaySettings(clerk_issuer="https://a.example", clerk_jwks_url="https://b.example/keys")
    assert elsewhere.jwks_url == "https://b.example/keys"
    assert GatewaySettings().jwks_url is None
    assert SECRET not in repr(GatewaySettings(clerk_webhook_secret=SECRET))
