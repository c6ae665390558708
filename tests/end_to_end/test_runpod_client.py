"""RunPod's own client packages, unmodified and in processes of their own, against a real stack and a worker on RunPod's
own SDK."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.end_to_end.stack import Stack, until
from tests.sdks.programs import key_of, node, printed_by, python, working

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]
ENDPOINT = "words"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def words(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """An endpoint with one worker, and the folder that client and worker share."""
    folder = tmp_path_factory.mktemp("words")
    for arguments in (("create", ENDPOINT, "--external"), ("key", ENDPOINT, "--pod", "words-1")):
        code, said = await stack.command("endpoints", *arguments)
        assert code == 0, said
    lines = [line.partition("=") for line in said.splitlines() if line.startswith("RUNPOD_")]
    environment = {name: value for name, _, value in lines}
    assert environment["RUNPOD_POD_ID"] == "words-1"
    async with working(python("handlers/words.py"), folder, environment, folder / "worker.log"):
        yield folder


async def told_by(stack: Stack, folder: Path, user: str, command: list[str]) -> dict[str, Any]:
    """What the program says as this user."""
    key = key_of(await stack.new_user(user))
    told = {"RUNPOD_ENDPOINT_BASE_URL": f"{stack.url}/v2", "RUNPOD_API_KEY": key, "ENDPOINT": ENDPOINT}
    try:
        printed = await printed_by(command, folder, **told)
    except AssertionError as error:
        log = (folder / "worker.log").read_text(errors="replace")
        raise AssertionError(f"{error}\n{log[-3000:]}\n{stack.tails()}") from None
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def purged(answers: list[dict[str, Any]], count: int) -> bool:
    """Whether the queue is purged. The first answer says of all of it, where the ledger decided in time."""
    removed = sum(one["removed"] for one in answers)
    return answers[-1]["status"] == "completed" and (removed == count if len(answers) == 1 else removed <= count)


async def test_the_python_package(stack: Stack, words: Path) -> None:
    found = await told_by(stack, words, "paula", python("runpod_client.py"))

    simple = found["simple"]
    assert simple["run"] == [["a", {"b": 1}], "COMPLETED"]
    assert simple["run_sync"] == ["sync"]
    assert simple["stream"] == [0, 1, 2, 3, 4]
    assert simple["after_stream"] == [0, 1, 2, 3, 4]
    assert simple["failed"][1] == "FAILED"
    assert simple["large"] == 3_000_000

    queue = found["queue"]
    assert (queue["running"], queue["update"]) == ("IN_PROGRESS", "held")
    assert queue["late"] == ["TimeoutError", "Job timed out."]
    assert (queue["cancel"], queue["cancelled"]) == ("CANCELLED", "CANCELLED")
    assert purged(queue["purges"], 3)
    assert queue["purged"] == ["CANCELLED"] * 3
    assert queue["health"] == {"inProgress": 1, "inQueue": 1}
    assert queue["workers"] == 1
    assert queue["timed_out"] == [None, "TIMED_OUT"]
    assert queue["held"] == [["held"], "COMPLETED", "COMPLETED"]

    video = found["video"]
    assert (video["status"], video["is_mp4"], video["status_word"]) == ("DONE", True, "COMPLETED")

    refusals = found["refusals"]
    assert refusals["unauthorized"][0] == "RuntimeError"
    assert refusals["unauthorized"][1].startswith("401 Unauthorized")
    assert refusals["no_endpoint"][:2] == ["HTTPError", 404]
    assert refusals["no_job"][:2] == ["HTTPError", 404]
    for name, field in (("no_input", "input"), ("policy", "policy.ttl"), ("video_input", "input.steps")):
        kind, status, body = refusals[name]
        assert (kind, status, body["details"][0]["field"]) == ("HTTPError", 400, field)

    assert found["asyncio"] == {
        "output": [1, 2],
        "status": "COMPLETED",
        "stream": ["s"],
        "health": ["completed", "failed", "inProgress", "inQueue", "retried"],
        "cancel": "COMPLETED",
    }


async def test_the_npm_package(stack: Stack, words: Path) -> None:
    found = await told_by(stack, words, "nora", node("runpod_client.mjs", words))

    done = {"status": "COMPLETED", "completed": True, "succeeded": True}
    assert found["run"] == "IN_QUEUE"
    assert found["statusSync"] == found["status"] == done | {"output": ["a"]}
    assert found["runSync"] == done | {"output": ["sync", 2]}
    assert found["stream"] == [0, 1, 2, 3, 4]
    assert found["running"] == "IN_PROGRESS"
    assert (found["late"]["status"], found["late"]["completed"]) == ("IN_QUEUE", False)
    assert found["cancel"] == "CANCELLED"
    assert purged(found["purges"], 2)
    assert found["inProgress"] == 1
    assert found["held"] == done | {"output": ["held"]}
    status, told = found["unauthorized"]
    assert (status, told["error"].split(":")[0]) == (401, "Unauthorized")
    assert found["noEndpoint"][0] == 404
    assert found["noJob"][0] == 404


@pytest.mark.usefixtures("words")
async def test_what_they_ran_is_no_video(stack: Stack) -> None:
    http = await stack.new_user("paula")
    health = await http.get(f"/v2/{ENDPOINT}/health")
    assert health.json()["jobs"]["completed"] > 0

    async def listed() -> list[Any] | None:
        rows: list[Any] = (await http.get("/api/videos")).json()
        return rows if len(rows) == 1 else None

    (video,) = await until(listed, "the one video that paula made")
    assert video["endpoint"] == "mochi-1"
