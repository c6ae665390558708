"""OpenV's API over HTTP, the jobs that are there: list, read, cancel, retry, delete; each only to its owner."""

import json
from typing import Any

import httpx
import pytest

from schemas.commands import CancelJob
from schemas.failures import FailureCode
from schemas.jobs import Failure
from schemas.lifecycle import State
from tests.gateway.world import World, events, job, settings, started

IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(20)]


async def stored(world: World, *jobs: Any) -> None:
    for one in jobs:
        assert await world.store.store_job(one, 0)


async def test_the_list_is_a_bare_array_newest_first_without_what_is_hidden(world: World) -> None:
    await stored(
        world,
        job(IDS[0], at=1_000, state=State.COMPLETED),
        job(IDS[1], at=3_000, state=State.CANCELLED),
        job(IDS[2], at=2_000, state=State.TIMED_OUT, failure=Failure(code=FailureCode.TTL_EXPIRED, message="late")),
        job(IDS[3], at=4_000, state=State.REJECTED),
        job(IDS[4], at=5_000, state=State.DELETED),
        job(IDS[5], "bob", at=6_000),
    )
    async with world.client() as http:
        rows = (await http.get("/api/videos")).json()
        assert [row["jobId"] for row in rows] == [IDS[1], IDS[2], IDS[0]]
        assert [row["status"] for row in rows] == ["failed", "failed", "completed"]
        assert rows[0]["createdAt"] == "1970-01-01T00:00:03.000Z"
        assert rows[0]["id"] > rows[1]["id"] > rows[2]["id"]
        with_deleted = (await http.get("/api/videos", params={"updatedSince": "0", "deleted": "true"})).json()
        assert with_deleted[0] == {"jobId": IDS[4], "status": "deleted", "updatedAt": "1970-01-01T00:00:05.000Z"}


@pytest.mark.parametrize(
    ("since", "ids"),
    [
        ("1999", [2, 1]),
        ("2000", [2]),  # strictly later
        ("1970-01-01T00:00:02Z", [2]),
        ("1970-01-01T00:00:01.999Z", [2, 1]),
        ("1970-01-01T01:00:02+01:00", [2]),
        ("1970-01-01", [2, 1, 0]),
        ("9999999999999", []),
    ],
)
async def test_updated_since_in_both_forms(world: World, since: str, ids: list[int]) -> None:
    await stored(world, *(job(IDS[n], at=1_000 * (n + 1)) for n in range(3)))
    async with world.client() as http:
        rows = (await http.get("/api/videos", params={"updatedSince": since})).json()
        unescaped = (await http.get(f"/api/videos?updatedSince={since}")).json()
    assert [row["jobId"] for row in rows] == [IDS[n] for n in ids]
    assert unescaped == rows


@pytest.mark.parametrize(
    "query",
    [
        "updatedSince=yesterday",
        "updatedSince=-1",
        "updatedSince=99999999999999999",
        "limit=0",
        "limit=501",
        "limit=ten",
        "before=x",
        "before=1.2",
        "deleted=maybe",
        "updatedSince=0001-01-01T00:00:00%2B23:00x",
    ],
)
async def test_queries_that_are_none(world: World, query: str) -> None:
    async with world.client() as http:
        answer = await http.get(f"/api/videos?{query}")
    assert answer.status_code == 400
    words = answer.json()["error"]
    assert words.startswith("Invalid")
    if query.startswith("updatedSince"):
        assert words == "Invalid updatedSince parameter"


async def test_pages_follow_each_other_without_a_gap(world: World) -> None:
    await stored(world, *(job(IDS[n], at=1_000 * (n // 2)) for n in range(9)))
    seen: list[str] = []
    async with world.client() as http:
        url: httpx.URL | str = "/api/videos?limit=4"
        while True:
            page = await http.get(url)
            seen += [row["jobId"] for row in page.json()]
            if "next" not in page.links:
                break
            url = page.links["next"]["url"]
        assert seen == [row["jobId"] for row in (await http.get("/api/videos")).json()]
    assert len(seen) == 9


async def test_cancel_stops_the_run_that_is_there_and_is_content_if_it_was_stopped(world: World) -> None:
    await stored(world, job(IDS[0], state=State.PROCESSING, run=4), job(IDS[1], state=State.COMPLETED))
    async with world.client() as http:
        answer = await http.post(f"/api/runpod/{IDS[0]}/cancel")
        assert (answer.status_code, answer.json()["state"], answer.json()["status"]) == (200, "cancelled", "failed")
        (command,) = world.ledger.heard
        assert isinstance(command, CancelJob)
        assert command.run == 4
        assert (await http.post(f"/api/runpod/{IDS[0]}/cancel")).status_code == 200
        done = await http.post(f"/api/runpod/{IDS[1]}/cancel")
        assert (done.status_code, done.json()["state"]) == (409, "completed")
    assert len(world.ledger.heard) == 1


async def test_retry_only_what_ended_without_a_video(world: World) -> None:
    await stored(world, job(IDS[0], state=State.FAILED), job(IDS[1], state=State.COMPLETED), job(IDS[2]))
    async with world.client() as http:
        row = (await http.post(f"/api/runpod/{IDS[0]}/retry")).json()
        assert (row["status"], row["run"], row["monthlyQuota"]["limitSeconds"]) == ("queued", 2, 600.0)
        assert (await http.post(f"/api/runpod/{IDS[1]}/retry")).status_code == 409
        assert (await http.post(f"/api/runpod/{IDS[2]}/retry")).status_code == 409
        assert (await http.post(f"/api/runpod/{IDS[3]}/retry")).status_code == 404


async def test_delete_takes_ones_own_and_says_nothing_about_others(world: World) -> None:
    await stored(world, job(IDS[0], state=State.COMPLETED), job(IDS[1]), job(IDS[2], "bob"))
    async with world.client() as http:
        wanted = {"jobIds": [IDS[0], IDS[1], IDS[1], IDS[2], IDS[3], "no id"]}
        answer = await http.request("DELETE", "/api/videos", json=wanted)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert (await http.get("/api/videos")).json() == []
        assert (await http.get(f"/api/runpod/{IDS[0]}")).status_code == 404
    assert sorted(command.subject for command in world.ledger.heard) == IDS[:2]
    async with world.client("bob") as http:
        assert [row["jobId"] for row in (await http.get("/api/videos")).json()] == [IDS[2]]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "Invalid request body"),
        (b"[]", "Invalid request body"),
        (b"{}", "Invalid jobIds"),
        (b'{"jobIds":null}', "Invalid jobIds"),
        (b'{"id":7}', "Invalid jobIds"),
        (b'{"jobIds":"x"}', "Invalid jobIds"),
        (b'{"jobIds":[1]}', "Invalid jobIds"),
        (json.dumps({"jobIds": ["x"] * 1_001}).encode(), "Invalid jobIds"),
    ],
)
async def test_deletes_that_are_none(world: World, content: bytes, error: str) -> None:
    async with world.client() as http:
        answer = await http.request("DELETE", "/api/videos", content=content)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


async def test_deletes_that_are_not_decided_in_time_are_named() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        await stored(world, job(IDS[0]))
        world.ledger.silent = True
        answer = await http.request("DELETE", "/api/videos", json={"jobIds": [IDS[0]]})
        assert (answer.status_code, answer.json()) == (202, {"success": True, "pending": [IDS[0]]})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", "/cancel"), ("POST", "/retry")],
)
async def test_anothers_job_is_no_job(world: World, method: str, path: str) -> None:
    await stored(world, job(IDS[0], "bob", state=State.FAILED))
    before = events(world.log)
    async with world.client("ada") as http:
        theirs = await http.request(method, f"/api/runpod/{IDS[0]}{path}")
        nobodys = await http.request(method, f"/api/runpod/{IDS[1]}{path}")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json() == nobodys.json()
    assert (world.ledger.heard, events(world.log)) == ([], before)


async def test_a_row_is_read_by_its_owner(world: World) -> None:
    await stored(world, job(IDS[0]))
    async with world.client() as http:
        row = (await http.get(f"/api/runpod/{IDS[0]}")).json()
    assert (row["jobId"], row["status"], row["prompt"]) == (IDS[0], "queued", f"prompt of {IDS[0]}")
    assert "count" not in row


async def test_unknown_addresses_and_methods_are_json_too(world: World) -> None:
    async with world.client() as http:
        unknown, method = await http.get("/api/nothing"), await http.put("/api/videos")
    assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
    assert (method.status_code, list(method.json())) == (405, ["error"])
    assert "GET" in method.headers["allow"]


async def test_many_deletes_in_one_request_are_one_request() -> None:
    async with started(settings(shed_requests=1, shed_window_seconds=60)) as world, world.client() as http:
        await stored(world, *(job(IDS[n]) for n in range(9)))
        assert (await http.request("DELETE", "/api/videos", json={"jobIds": IDS[:9]})).status_code == 200
        assert (await http.request("DELETE", "/api/videos", json={"jobIds": IDS[:9]})).status_code == 429
    assert len(world.ledger.heard) == 9
