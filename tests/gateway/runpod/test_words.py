"""A refusal that a setting of the operator's has caused names it, by a name that the operator's documents have."""

import re
from pathlib import Path

import httpx
import pytest

from gateway.errors import PROBLEMS, Problem
from gateway.runpod import commands
from gateway.workers.routes import POLLS_FULL
from repo.clock import now_ms
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.endpoints import EndpointLimits
from schemas.failures import FailureCode
from schemas.lifecycle import State
from tests.gateway.runpod import echo
from tests.gateway.runpod.test_jobs import run
from tests.gateway.world import World, settings, started

ROOT = Path(__file__).parents[3]
RUN = "/v2/echo/run"
NAME = re.compile(r"OPENV_[A-Z_]+|--[a-z-]+|S3_FALLBACK_|openv [a-z]+ [a-z]+")


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)
    await echo.add(world, endpoint_id="own", limits=EndpointLimits(max_active=1))


def named(answer: httpx.Response) -> set[str]:
    """The settings and flags in an answer's words."""
    words: str = answer.json()["error"]
    assert "operator" in words
    return set(NAME.findall(words))


@pytest.mark.parametrize(
    ("code", "endpoint", "names"),
    [
        (FailureCode.CONCURRENCY_EXCEEDED, "own", {"openv endpoints update", "--max-active"}),
        (FailureCode.RATE_LIMITED, "own", {"openv endpoints update", "--rate-limit"}),
        (FailureCode.CONCURRENCY_EXCEEDED, "echo", {"openv users limit", "--max-active", "OPENV_MAX_ACTIVE"}),
        (FailureCode.RATE_LIMITED, "echo", {"openv users limit", "--rate", "OPENV_RATE_LIMIT"}),
        (FailureCode.QUOTA_EXCEEDED, "own", {"openv users limit", "--seconds"}),
        (FailureCode.CREDITS_EXCEEDED, "own", {"openv users credits", "--grant"}),
    ],
)
async def test_a_limit_of_the_endpoint_or_of_the_user(
    world: World, code: FailureCode, endpoint: str, names: set[str]
) -> None:
    world.ledger.refuse = code
    async with world.client() as http:
        assert named(await http.post(f"/v2/{endpoint}/run", json={"input": 1})) == names


async def test_floods() -> None:
    async with started(settings(serverless_requests=2)) as world:
        await echo.add(world)
        async with world.client() as http:
            job_id = await run(http)
            await http.post(RUN, json={"input": 1})
            for path in ("run", "runsync", "purge-queue", f"cancel/{job_id}"):
                answer = await http.post(f"/v2/echo/{path}", json={"input": 1})
                assert (answer.status_code, named(answer)) == (429, {"OPENV_SERVERLESS_REQUESTS"})
            await echo.finish(world, job_id, None, State.FAILED)
            answer = await http.post(f"/v2/echo/retry/{job_id}")
            assert (answer.status_code, named(answer)) == (429, {"OPENV_SERVERLESS_REQUESTS"})


async def test_a_full_room(world: World) -> None:
    room = world.parts.serverless.room
    room._patience_s = 0.05
    async with room.held("ada", 64 * 1024 * 1024), world.client() as http:
        answer = await http.post("/v2/echo/runsync", content=b" " * (RUNSYNC_BYTES - 1))
        assert (answer.status_code, named(answer)) == (503, {"OPENV_SERVERLESS_BODY_BYTES"})


async def test_too_many_who_wait() -> None:
    async with started(settings(serverless_waits_per_user=1)) as world:
        await echo.add(world)
        endings = world.parts.serverless.endings
        async with world.client() as http:
            job_id = await run(http)
            with endings.waiting_for(job_id, "ada"):
                for path in (f"status-sync/{job_id}", f"stream/{job_id}"):
                    answer = await http.get(f"/v2/echo/{path}")
                    assert (answer.status_code, named(answer)) == (429, {"OPENV_SERVERLESS_WAITS_PER_USER"})


async def test_a_result_that_is_gone() -> None:
    time = [now_ms()]
    async with started(now=lambda: time[0]) as world:
        await echo.add(world, result_ms=60_000)
        async with world.client() as http:
            job_id = await run(http)
            await echo.finish(world, job_id, {"output": 1})
            time[0] = now_ms() + 120_000
            answer = await http.get(f"/v2/echo/status/{job_id}")
            assert (answer.status_code, named(answer)) == (404, {"openv endpoints update", "--result-minutes"})


def test_every_name_is_in_the_documents() -> None:
    tables = (commands.WORDS, commands.OF_ENDPOINT, commands.OF_DEPLOYMENT)
    words = " ".join([*(row.words for row in PROBLEMS.values()), *(word for one in tables for word in one.values())])
    said = "".join((ROOT / "docs" / name).read_text() for name in ("configuration.md", "endpoints.md", "api.md"))
    found = set(NAME.findall(f"{words} {commands.TOO_OFTEN} {POLLS_FULL}"))
    assert {"OPENV_WORKER_POLLS", "OPENV_SERVERLESS_BODY_BYTES", "--max-active", "S3_FALLBACK_"} <= found
    assert [name for name in sorted(found) if name not in said] == []
    assert "operator" in PROBLEMS[Problem.STORE_UNKNOWN].words
