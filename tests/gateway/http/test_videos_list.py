"""The list in full: no row is lost however many there are, the quota beside it, other origins, many deletions."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx

from schemas.commands import AskUsage
from schemas.jobs import Job
from schemas.lifecycle import State
from tests.gateway.world import ORIGIN, World, job, settings, started, until, with_files

MANY = 1_203
QUOTA = {"remainingSeconds": 598.75, "currentUsage": 1.25, "limitSeconds": 600.0}


def job_id(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


async def store_many(world: World, numbers: Iterable[int]) -> None:
    for n in numbers:
        assert await world.store.store_job(job(job_id(n), at=1_000 + n // 3, state=State.COMPLETED), 0)


async def test_without_a_limit_every_row_is_there_once_newest_first(world: World) -> None:
    await store_many(world, range(MANY))
    await world.store.store_job(job(job_id(5_000), "bob", at=9_000), 0)
    async with world.client() as http:
        answer = await http.get("/api/videos")
        assert [row["jobId"] for row in answer.json()] == [job_id(n) for n in reversed(range(MANY))]
        assert "link" not in answer.headers
        changed = (await http.get("/api/videos?updatedSince=1000")).json()
        assert len(changed) == MANY - 3
        paged = await http.get("/api/videos?limit=500&format=object")
        assert paged.json()["nextCursor"] == f"1234.{job_id(703)}"
        last = await http.get("/api/videos", params={"before": f"1000.{job_id(2)}", "format": "object"})
        assert [row["jobId"] for row in last.json()["videos"]] == [job_id(1), job_id(0)]
        assert last.json()["nextCursor"] is None


async def test_what_changes_while_pages_are_read_is_shown_as_it_is_at_the_end(world: World) -> None:
    """The row on the first page changed before the one on the last: who polls on from the newest instant it was shown
    would never hear of the former."""
    await store_many(world, range(MANY))
    first, last, gone = job_id(MANY - 1), job_id(0), job_id(MANY - 2)
    real = world.store.jobs_of
    reads = 0

    async def between_pages(*given: Any, **named: Any) -> list[Job]:
        nonlocal reads
        page = await real(*given, **named)
        reads += 1
        if reads == 2:  # the first says that there is more than a page, the second is the first of them
            for one, state, at in (
                (first, State.FAILED, 5_000),
                (gone, State.DELETED, 5_001),
                (last, State.FAILED, 5_002),
            ):
                known = await world.store.job(one)
                assert known is not None
                await world.store.store_job(replace(known, version=2, state=state, updated_at=at), 1)
            await world.store.store_job(job(job_id(6_000), at=5_003), 0)
        return page

    world.store.jobs_of = between_pages  # type: ignore[method-assign]
    async with world.client() as http:
        rows = {row["jobId"]: row for row in (await http.get("/api/videos")).json()}
    assert len(rows) == MANY - 1 + 1
    assert (rows[first]["status"], rows[last]["status"]) == ("failed", "failed")
    assert gone not in rows
    assert job_id(6_000) in rows


async def test_an_outage_in_the_middle_of_a_long_list_is_an_error_and_no_short_list(world: World) -> None:
    await store_many(world, range(MANY))
    real = world.store.jobs_of

    async def once(*given: Any, **named: Any) -> list[Job]:
        page = await real(*given, **named)
        world.store.away = True
        return page

    world.store.jobs_of = once  # type: ignore[method-assign]
    async with world.client() as http:
        await http.get("/api/usage")  # the key is remembered now
        answer = await http.get("/api/videos")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["mongodb"])


async def test_status_narrows_the_list(world: World) -> None:
    for n, state in enumerate([State.QUEUED, State.FAILED, State.CANCELLED, State.COMPLETED, State.DELETED]):
        await world.store.store_job(job(job_id(n), at=n, state=state), 0)
    async with world.client() as http:

        async def listed(**query: str) -> list[str]:
            return [row["jobId"] for row in (await http.get("/api/videos", params=query)).json()]

        assert await listed(status="failed") == [job_id(2), job_id(1)]
        assert await listed(status="queued,cancelled") == [job_id(2), job_id(0)]
        assert await listed(status="queued", deleted="true") == [job_id(4), job_id(0)]
        assert (await http.get("/api/videos?status=late")).status_code == 400


def asked(world: World) -> int:
    return len([one for one in world.ledger.heard if isinstance(one, AskUsage)])


async def test_the_quota_beside_a_list_is_asked_once_until_something_happens() -> None:
    now = [1_000_000]
    async with started(now=lambda: now[0]) as world, world.client() as http, world.client("bob") as other:

        async def quota(client: httpx.AsyncClient = http) -> Any:
            return (await client.get("/api/videos?format=object")).json()["monthlyQuota"]

        await quota(), await quota(other)  # from now on there is an event to hold on to
        before = asked(world)
        assert [await quota() for _ in range(5)] == [QUOTA] * 5
        known = asked(world)
        assert known <= before + 1
        await world.ledger.write(job(job_id(1), "bob", at=5))
        await world.ledger.write(job(job_id(0), at=5))
        await until(lambda: world.parts.feed.window.newest("ada", world.parts.feed.partition_of("ada"), job_id(0)))
        world.ledger.remaining = replace(world.ledger.remaining, used_seconds=2.0)
        assert (await quota())["currentUsage"] == 2.0
        assert (await quota())["currentUsage"] == 2.0
        assert asked(world) == known + 1
        now[0] += 60_000
        world.ledger.remaining = replace(world.ledger.remaining, used_seconds=3.0, period_end=now[0] + 10)
        assert (await quota())["currentUsage"] == 3.0
        now[0] += 10
        await quota()
        assert asked(world) == known + 3, "the period is over"


async def test_a_ledger_that_does_not_answer_costs_the_quota_and_not_the_list() -> None:
    async with started(settings(videos_format="object", decision_timeout_seconds=0.1)) as world:
        await world.store.store_job(job(job_id(0)), 0)
        world.ledger.silent = True
        async with world.client() as http:
            for _ in range(4):
                answer = await http.get("/api/videos")
                assert (answer.status_code, answer.json()["monthlyQuota"]) == (200, None)
                assert [row["jobId"] for row in answer.json()["videos"]] == [job_id(0)]
            assert asked(world) == 1, "it is let alone for a while"
        with world.kafka_away():
            await until(lambda: not world.parts.probes.answers("kafka"))
            async with world.client("bob") as http:
                assert (await http.get("/api/videos")).json() == {"videos": [], "monthlyQuota": None}


async def test_a_page_of_another_origin_is_told_whole_addresses(world: World) -> None:
    await world.store.store_job(with_files(job(job_id(0))), 0)
    async with world.client() as http:
        for origin, host in ((None, ""), (ORIGIN, ""), ("https://app.example.org", ORIGIN), ("null", ORIGIN)):
            headers = {"Origin": origin} if origin else {}
            (row,) = (await http.get("/api/videos", headers=headers)).json()
            one = (await http.get(f"/api/runpod/{job_id(0)}", headers=headers)).json()
            assert row["url"] == one["url"] == one["output"]["result"] == f"{host}/api/videos/{job_id(0)}/video"
            assert row["posterUrl"] == f"{host}/api/videos/{job_id(0)}/poster"
            assert row.get("thumbnailUrl") is None


async def test_hundreds_of_deletions_cost_a_request_for_each_hundred() -> None:
    async with started(settings(shed_requests=4, shed_window_seconds=600)) as world, world.client() as http:
        await store_many(world, range(250))
        wanted = [job_id(n) for n in range(250)] + ["", "x" * 5_000, "../../etc", job_id(9_999)]
        answer = await http.request("DELETE", "/api/videos", json={"jobIds": wanted})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert (await http.get("/api/videos")).json() == []
        tombstones = (await http.get("/api/videos?deleted=true")).json()
        assert len(tombstones) == 250
        assert (await http.request("DELETE", "/api/videos", json={"jobIds": wanted})).status_code == 429
        assert (await http.request("DELETE", "/api/videos", json={"jobIds": []})).json() == {"success": True}
