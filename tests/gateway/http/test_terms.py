"""The terms of use over HTTP, in OpenV's bodies."""

import asyncio

import pytest

from schemas.access import Acceptance, Scope
from tests.gateway.world import World, settings, started


async def test_nobody_and_everybody_in_openvs_bodies(world: World) -> None:
    async with world.client(None) as http:
        answer = await http.get("/api/terms/check")
        assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized", "hasAccepted": False})
        answer = await http.post("/api/terms/accept")
        assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    async with world.client() as http:
        checked = (await http.get("/api/terms/check")).json()
        assert checked == {"hasAccepted": False, "required": False, "version": "1.0.0", "history": []}
        answer = await http.post("/api/terms/accept")
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        checked = (await http.get("/api/terms/check")).json()
        assert (checked["hasAccepted"], checked["acceptedAt"]) == (True, checked["history"][0]["acceptedAt"])
    async with world.client("bob") as http:
        assert (await http.get("/api/terms/check")).json()["hasAccepted"] is False


async def test_every_refusal_of_the_check_says_that_nothing_was_accepted(world: World) -> None:
    async with world.client(scopes=(Scope.WRITE,)) as http:
        answer = await http.get("/api/terms/check")
    assert (answer.status_code, answer.json()["hasAccepted"], answer.json()["code"]) == (403, False, "scope_missing")


async def test_the_first_yes_counts_however_often_it_is_said(world: World) -> None:
    async with world.client() as http:
        said = await asyncio.gather(*(http.post("/api/terms/accept") for _ in range(10)))
        assert {(one.status_code, one.content) for one in said} == {(200, b'{"success":true}')}
        first = (await http.get("/api/terms/check")).json()
        await http.post("/api/terms/accept")
        assert (await http.get("/api/terms/check")).json() == first
    assert len(first["history"]) == 1


async def test_a_new_version_asks_again_and_the_history_stays() -> None:
    async with started(settings(terms_version="2.0.0", terms_required=True)) as world:
        await world.database.access.accept_terms(Acceptance(user_id="ada", version="1.0.0", accepted_at=1_000))
        async with world.client() as http:
            checked = (await http.get("/api/terms/check")).json()
            assert checked == {
                "hasAccepted": False,
                "required": True,
                "version": "2.0.0",
                "history": [{"version": "1.0.0", "acceptedAt": "1970-01-01T00:00:01.000Z"}],
            }
            assert (await http.get("/api/videos")).status_code == 403
            assert (await http.post("/api/terms/accept", json={"version": "2.0.0"})).status_code == 200
            assert (await http.get("/api/videos")).status_code == 200
            checked = (await http.get("/api/terms/check")).json()
        assert [one["version"] for one in checked["history"]] == ["1.0.0", "2.0.0"]


async def test_a_yes_to_terms_that_are_no_longer_those_is_none(world: World) -> None:
    async with world.client() as http:
        answer = await http.post("/api/terms/accept", json={"version": "0.9"})
        assert (answer.status_code, answer.json()["code"], answer.json()["version"]) == (409, "terms_changed", "1.0.0")
        assert (await http.get("/api/terms/check")).json()["hasAccepted"] is False


@pytest.mark.parametrize("body", [b"{", b"[]", b'"1.0.0"', b'{"version":1}', b"null"])
async def test_bodies_that_say_nothing_readable(world: World, body: bytes) -> None:
    async with world.client() as http:
        assert (await http.post("/api/terms/accept", content=body)).status_code == 400
        assert (await http.post("/api/terms/accept", content=b" " * 5_000)).status_code == 413
        assert (await http.get("/api/terms/check")).json()["hasAccepted"] is False


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"version":null}', b'{"version":"1.0.0","more":1}'])
async def test_bodies_that_mean_the_version_of_now(world: World, body: bytes) -> None:
    async with world.client() as http:
        assert (await http.post("/api/terms/accept", content=body)).status_code == 200


async def test_a_yes_at_one_gateway_lets_in_at_the_other_at_once() -> None:
    strict = settings(terms_required=True)
    async with (
        started(strict) as one,
        started(strict, world=one) as two,
        one.client() as here,
        two.client() as there,
    ):
        assert (await there.get("/api/videos")).status_code == 403
        assert (await here.post("/api/terms/accept")).status_code == 200
        assert (await there.get("/api/videos")).status_code == 200


async def test_mongodb_away_is_said_and_nothing_is_accepted(world: World) -> None:
    async with world.client() as http:
        await http.get("/api/terms/check")
        world.database.away = True
        for answer in (await http.get("/api/terms/check"), await http.post("/api/terms/accept")):
            assert (answer.status_code, answer.json()["missing"]) == (503, ["mongodb"])
        world.database.away = False
        assert (await http.get("/api/terms/check")).json()["hasAccepted"] is False
