"""Who gets into the admin API: everything that is not a good key of an admin is refused, in the same words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.identity.keys import hash_of
from operations.admin.settings import AdminSettings
from repo.clock import now_ms
from repo.environment import SettingsError
from schemas.accounts import Account, Role
from tests.operations.admin.house import BAD_KEYS, WEAK_KEYS, House, opened

NOBODY = {"error": "Unauthorized: this address wants an admin's API key as a Bearer.", "code": "unauthorized"}
FORBIDDEN = {"error": "Forbidden: this address wants a key of role admin with the scope admin.", "code": "forbidden"}
PROTECTED = ("/audit", "/topics", "/endpoints", "/works", "/openapi.json")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened(admin_failed_tries=1000) as made:
        yield made


async def test_an_admin_comes_in(house: House) -> None:
    async with house.admin() as admin:
        for path in PROTECTED:
            assert (await admin.get(path)).status_code == 200, path


@pytest.mark.parametrize("path", PROTECTED)
async def test_nobody_comes_in_without_a_key(house: House, path: str) -> None:
    async with house.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 401
    assert answer.json() == NOBODY
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("kind", BAD_KEYS)
async def test_other_secrets_are_no_keys(house: House, kind: str) -> None:
    async with house.client(await house.key(**BAD_KEYS[kind])) as client:
        answer = await client.get("/audit")
    assert (answer.status_code, answer.json()) == (401, NOBODY)


@pytest.mark.parametrize("kind", WEAK_KEYS)
async def test_keys_that_are_not_for_this_are_all_told_the_same(house: House, kind: str) -> None:
    async with house.client(await house.key(**WEAK_KEYS[kind])) as client:
        answer = await client.get("/audit")
    assert (answer.status_code, answer.json()) == (403, FORBIDDEN)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer ov_short"},
        {"Authorization": "Basic cm9vdDpyb290"},
        {"Cookie": "openv_session={secret}"},
        {"X-Api-Key": "{secret}"},
        {"Authorization": "{secret}"},
    ],
)
async def test_a_key_counts_as_a_bearer_alone(house: House, headers: dict[str, str]) -> None:
    secret = await house.key()
    async with house.client() as client:
        said = {name: value.format(secret=secret) for name, value in headers.items()}
        assert (await client.get("/audit", headers=said)).status_code == 401
        two = [("Authorization", f"Bearer {secret}"), ("Authorization", f"Bearer {secret}")]
        assert (await client.get("/audit", headers=two)).status_code == 401
        assert (await client.get(f"/audit?token={secret}")).status_code == 401


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    secret = await house.key()
    async with house.client(secret) as client:
        assert (await client.get("/audit")).status_code == 200
        await house.database.access.revoke_api_key(hash_of(secret), now_ms())
        assert (await client.get("/audit")).status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"blocked": True, "blocked_issued_at": 1}, 403),
        ({"role": Role.USER, "role_issued_at": 4_000_000_000_000}, 403),
        ({"role": Role.RESTRICTED, "role_issued_at": 1}, 403),
        ({"deleted_at": 1, "deleted_issued_at": 1}, 401),
    ],
)
async def test_an_account_limits_its_keys_at_once(house: House, change: dict[str, Any], status: int) -> None:
    async with house.admin() as client:
        assert (await client.get("/audit")).status_code == 200
        assert await house.database.jobs.store_account(Account(user_id="root", version=1, **change), 0)
        assert (await client.get("/audit")).status_code == status


async def test_while_nobody_can_be_known_nobody_is_let_in(house: House) -> None:
    async with house.admin() as client:
        assert (await client.get("/audit")).status_code == 200
        house.database.away = True
        answer = await client.get("/audit")
    assert answer.status_code == 503
    assert answer.json()["missing"] == ["mongodb"]
    assert answer.headers["Retry-After"]


async def test_who_guesses_waits_and_locks_nobody_out() -> None:
    async with opened(admin_failed_tries=5) as house:
        known, unknown = await house.key(), await house.key("other")
        async with house.client(known) as admin, house.client(unknown) as late, house.client() as guesser:
            assert (await admin.get("/audit")).status_code == 200
            for _ in range(5):
                assert (await guesser.get("/audit")).status_code == 401
            refused = await guesser.get("/audit")
            assert refused.status_code == 429
            assert 0 < int(refused.headers["Retry-After"]) <= 60
            assert (await late.get("/audit")).status_code == 429, "a key that has let nobody in of late waits as well"
            assert (await admin.get("/audit")).status_code == 200
            async with house.client(unknown, address="192.0.2.8") as elsewhere:
                assert (await elsewhere.get("/audit")).status_code == 200
            await house.database.access.revoke_api_key(hash_of(known), now_ms())
            assert (await admin.get("/audit")).status_code == 401
            assert (await admin.get("/audit")).status_code == 429, "it is trusted no longer"


async def test_health_is_open_and_says_nothing_else(house: House) -> None:
    async with house.client() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"ready": True, "missing": []}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "admin.example.org"])  # noqa: S104
def test_it_listens_for_other_machines_only_where_somebody_said_so(host: str) -> None:
    with pytest.raises(SettingsError, match="OPENV_ADMIN_EXPOSE=true"):
        AdminSettings(admin_host=host)
    assert AdminSettings(admin_host=host, admin_expose=True).admin_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_the_loopback_needs_no_word(host: str) -> None:
    assert AdminSettings(admin_host=host).admin_host == host


@pytest.mark.parametrize("proxies", ["*", "0.0.0.0/0x", "proxy.example.org"])
def test_not_everybody_may_say_where_a_request_comes_from(monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    monkeypatch.setenv("OPENV_TRUSTED_PROXIES", proxies)
    with pytest.raises(SettingsError, match="OPENV_TRUSTED_PROXIES is not valid"):
        AdminSettings()
