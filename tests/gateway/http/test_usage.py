"""What a user has left, as the ledger says it; and what a page is told when nobody can say."""

from dataclasses import replace

import pytest

from schemas.accounts import Role
from schemas.api.usage import FIELDS
from schemas.commands import AskUsage, SubmitJob
from schemas.requests import FPS, LIMITS, PROMPT_MAX, whole_frames, whole_pixels
from tests.gateway.world import REMAINING, World, settings, started


async def test_it_is_the_ledgers_answer_with_the_limits_of_every_field(world: World) -> None:
    world.ledger.remaining = replace(REMAINING, period_end=2_678_400_000, credits=2.5, suggested_frames=127)
    async with world.client() as http:
        answer = await http.get("/api/usage")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    limits = told.pop("limits")
    assert told == {
        "limitSeconds": 600.0,
        "usedSeconds": 1.25,
        "remainingSeconds": 598.75,
        "periodStart": "1970-01-01T00:00:00.000Z",
        "periodEnd": "1970-02-01T00:00:00.000Z",
        "active": 1,
        "maxActive": 3,
        "credits": 2.5,
        "suggestedFrames": 127,
        "fps": FPS,
    }
    assert limits["num_frames"] == {"least": 7, "most": 127, "default": 31, "step": 6}
    assert limits["cfg"] == {"least": 1, "most": 20, "default": 6}
    assert limits["prompt"] == limits["negative_prompt"] == {"most": PROMPT_MAX}
    assert set(limits) == {*LIMITS, "prompt", "negative_prompt"}
    (command,) = world.ledger.heard
    assert isinstance(command, AskUsage)
    assert command.user_id == "ada"


@pytest.mark.parametrize(("name", "rounded"), [("num_frames", whole_frames), ("width", whole_pixels)])
def test_the_steps_are_those_that_values_are_rounded_down_to(name: str, rounded: object) -> None:
    limits = FIELDS[name]
    assert callable(rounded)
    assert limits.least is not None
    assert limits.step is not None
    for value in range(int(limits.least), int(limits.most) + 1):
        assert rounded(value) == limits.least + (value - limits.least) // limits.step * limits.step


async def test_where_nothing_fits_no_length_is_suggested(world: World) -> None:
    world.ledger.remaining = replace(REMAINING, used_seconds=600.0, remaining_seconds=0.0)
    async with world.client() as http:
        assert "suggestedFrames" not in (await http.get("/api/usage")).json()


async def test_only_the_caller_and_only_with_a_key_and_also_who_may_only_look(world: World) -> None:
    async with world.client(None) as http:
        assert (await http.get("/api/usage")).status_code == 401
    async with world.client("rea", role=Role.RESTRICTED) as http:
        assert (await http.get("/api/usage")).status_code == 200
        assert (await http.post("/api/usage")).status_code == 405
    assert [command.user_id for command in world.ledger.heard if isinstance(command, AskUsage)] == ["rea"]


async def test_no_answer_in_time_is_a_503_that_says_when_to_ask_again() -> None:
    async with started(settings(decision_timeout_seconds=0.1)) as world, world.client() as http:
        world.ledger.silent = True
        answer = await http.get("/api/usage")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "error" in answer.json()


async def test_without_kafka_it_is_a_503(world: World) -> None:
    async with world.client() as http:
        await http.get("/api/usage")
        with world.kafka_away():
            await world.parts.probes.ask_all()
            answer = await http.get("/api/usage")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["kafka"])
    assert "retry-after" in answer.headers


async def test_floods_of_questions_are_shed_and_cost_submissions_nothing() -> None:
    async with started(settings(usage_requests=2, shed_requests=1)) as world, world.client() as http:
        statuses = [(await http.get("/api/usage")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert "retry-after" in (await http.get("/api/usage")).headers
        assert (await http.post("/api/runpod", json={"prompt": "a"})).status_code == 200
    assert [type(command) for command in world.ledger.heard] == [AskUsage, AskUsage, SubmitJob]
