"""Health pages, and the envelope around every answer."""

import httpx
import pytest

from gateway.http import videos
from tests.gateway.world import World, eventually, started


async def ready(http: httpx.AsyncClient) -> tuple[int, dict[str, object]]:
    answer = await http.get("/readyz")
    return answer.status_code, answer.json()


async def test_a_gateway_with_everything_is_ready(world: World) -> None:
    async with world.client(None) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert await ready(http) == (200, {"ready": True, "missing": [], "degraded": []})


@pytest.mark.parametrize(("port", "name"), [("log", "kafka"), ("store", "mongodb")])
async def test_what_is_missing_is_named_and_comes_back(world: World, port: str, name: str) -> None:
    async with world.client(None) as http:
        getattr(world, port).away = True
        await eventually(lambda: said(http, 503, [name], []))
        assert (await http.get("/healthz")).status_code == 200
        getattr(world, port).away = False
        await eventually(lambda: said(http, 200, [], []))


async def test_without_s3_requests_are_still_taken(world: World) -> None:
    async with world.client(None) as http:
        world.objects.away = True
        await eventually(lambda: said(http, 200, [], ["s3"]))


async def said(http: httpx.AsyncClient, status: int, missing: list[str], degraded: list[str]) -> bool:
    return await ready(http) == (status, {"ready": status == 200, "missing": missing, "degraded": degraded})


async def test_a_gateway_that_starts_before_its_servers_finds_them_by_itself() -> None:
    async with started() as servers:
        servers.log.away = servers.database.away = True
        async with started(world=servers) as world, world.client(None) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert (await ready(http))[0] == 503
            assert (
                await http.get("/api/videos", headers={"Authorization": "Bearer ov_" + "a" * 43})
            ).status_code == 503
            servers.log.away = servers.database.away = False
            await eventually(lambda: said(http, 200, [], []))
            async with world.client() as user:
                assert (await user.post("/api/runpod", json={"prompt": "a"})).status_code == 200


async def test_every_answer_has_a_request_id_and_keeps_a_sane_one(world: World) -> None:
    async with world.client(None) as http:
        assert len((await http.get("/healthz")).headers["x-request-id"]) == 32
        kept = await http.get("/nowhere", headers={"X-Request-Id": "trace-1234"})
        assert kept.headers["x-request-id"] == "trace-1234"
        for odd in ("short", "x" * 65, "with space in it", 'quote"quote'):
            assert (await http.get("/healthz", headers={"X-Request-Id": odd})).headers["x-request-id"] != odd


async def test_a_defect_is_a_500_without_its_story(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> object:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(videos, "listing", broken)
    async with world.client() as http:
        answer = await http.get("/api/videos")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
