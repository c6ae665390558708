"""Who may speak the worker protocol: keys of workers of that endpoint, and such a key opens nothing else."""

import re
from typing import Any

import pytest

from gateway.spec.operation import Access
from gateway.spec.table import OPERATIONS
from gateway.spec.workers import OPERATIONS as OF_WORKERS
from gateway.workers import routes
from repo.clock import now_ms
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.endpoints import EndpointKind
from tests.gateway.workers.pool import Pool, endpoint, pool_in, worker_key
from tests.gateway.world import World

PATHS = {"endpoint_id": "echo", "pod_id": "pod-1", "job_id": "j-1"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAUSE_S", 0.0)


async def statuses(world: World, authorization: str | None) -> dict[str, int]:
    """What each route of the protocol answers to whoever shows this."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    async with world.client(None) as http:
        return {
            row.name: (
                await http.request(row.method, row.path.format(**PATHS), headers=headers, content=b'{"output":1}')
            ).status_code
            for row in OF_WORKERS
        }


NOBODY = dict.fromkeys((row.name for row in OF_WORKERS), 401)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "nonsense", "Bearer ov_" + "x" * 43, "ov_" + "x" * 43])
async def test_nobody_is_let_in(pool: Pool, authorization: str | None) -> None:
    assert await statuses(pool.world, authorization) == NOBODY


async def test_whoever_has_no_such_key_is_told_which_and_nothing_of_the_one_that_was_shown(pool: Pool) -> None:
    now = now_ms()
    shown = [
        None,
        "nonsense",
        "ov_" + "x" * 43,
        await pool.world.key("ada", role=Role.ADMIN),
        await worker_key(pool.world, "other"),
        await worker_key(pool.world, expires_at=now - 1),
    ]
    async with pool.world.client(None) as http:
        for endpoint_id in ("echo", "never-was", "mochi-1"):
            url = f"/v2/{endpoint_id}/job-take/pod-1"
            answers = [await http.get(url, headers={"Authorization": one} if one else {}) for one in shown]
            assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
            assert "`openv endpoints key`" in answers[0].json()["error"]


async def test_where_a_users_key_is_wanted_a_workers_is_told_so_as_any_other(pool: Pool) -> None:
    secret = await worker_key(pool.world)
    async with pool.world.client(None) as http:
        for url in ("/v2/echo/health", "/v2/never-was/health", "/v2/echo/status/j-1"):
            answers = [await http.get(url, headers={"Authorization": one}) for one in (secret, "ov_" + "x" * 43, "?")]
            assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
            assert "`openv keys create`" in answers[0].json()["error"]


@pytest.mark.parametrize("kind", [KeyKind.KEY, KeyKind.SESSION, KeyKind.PAGE_LINK])
async def test_other_keys_do_not_open_it(pool: Pool, kind: KeyKind) -> None:
    secret = await pool.world.key("ada", role=Role.ADMIN, kind=kind, endpoint="echo")
    assert await statuses(pool.world, f"Bearer {secret}") == NOBODY


@pytest.mark.parametrize("how", [{"expires_at": 1}, {"endpoint_id": "other"}])
async def test_nor_does_an_old_key_or_one_of_another_endpoint(pool: Pool, how: dict[str, Any]) -> None:
    assert await statuses(pool.world, await worker_key(pool.world, **how)) == NOBODY


async def test_a_key_that_is_revoked_is_refused(pool: Pool) -> None:
    secret = await worker_key(pool.world)
    headers = {"Authorization": secret}
    assert (await pool.http.get(pool.url("ping"), headers=headers)).status_code == 200
    access = pool.world.database.access
    for key in await access.api_keys("operator"):
        await access.revoke_api_key(key.key_hash, now_ms())
    pool.world.parts.auth._keys._remembered.clear()
    assert (await pool.http.get(pool.url("ping"), headers=headers)).status_code == 401


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}"])
async def test_a_workers_key_is_shown_bare_or_as_a_bearer(pool: Pool, form: str) -> None:
    secret = await worker_key(pool.world)
    answer = await pool.http.get(pool.url("ping"), headers={"Authorization": form.format(secret)})
    assert (answer.status_code, answer.json()) == (200, {})


async def test_a_workers_key_opens_nothing_else(pool: Pool) -> None:
    headers = {"Authorization": f"Bearer {await worker_key(pool.world)}"}
    tried = 0
    for row in OPERATIONS:
        if row.access not in {Access.OPEN, Access.WORKER}:
            path = re.sub(r"\{(\w+)\}", lambda named: PATHS.get(named[1], "x"), row.path)
            answer = await pool.http.request(row.method, path, headers=headers, content=b"{}")
            assert answer.status_code == 401, row.name
            tried += 1
    assert tried > 20


async def test_an_endpoint_that_never_was_and_one_of_our_own_workers_have_no_jobs_to_take(world: World) -> None:
    async with pool_in(world) as pool:
        for endpoint_id, words in (("gone", "There is no such endpoint."), ("mochi-1", "`openv worker`")):
            secret = await worker_key(world, endpoint_id)
            answer = await pool.http.get(f"/v2/{endpoint_id}/job-take/pod-1", headers={"Authorization": secret})
            assert answer.status_code == 404
            assert words in answer.json()["error"]


async def test_an_endpoint_that_was_handed_to_our_own_workers_is_closed(pool: Pool) -> None:
    changed = endpoint(version=2, kind=EndpointKind.ENGINE, pool="mochi-1")
    assert await pool.world.database.endpoints.store_endpoint(changed, 1)
    assert (await pool.ping()).status_code == 404
