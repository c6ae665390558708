"""Whatever dies midway: the job ends once, with one charge, and no watcher misses an event."""

from typing import Any

import pytest

from tests.end_to_end.stack import Stack, until

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]

# Seconds of work, so that what is done to its worker is done in the middle of it, and not many more: it is made again.
MIDDLING = {"width": 480, "height": 480, "num_frames": 31, "steps": 65}


def worker_of(row: dict[str, Any]) -> str:
    """The stack's name for the worker that the row names."""
    return "worker-" + row["workerId"].rsplit("-worker-", 1)[1]


def other_than(worker: str) -> str:
    return {"worker-1": "worker-2", "worker-2": "worker-1"}[worker]


async def charged(stack: Stack, user: str) -> float:
    """The seconds that this user's jobs hold or have used, summed from what the API shows."""
    http = await stack.new_user(user)
    rows = (await http.get("/api/videos")).json()
    return sum(row["charge"]["seconds"] for row in rows if row["charge"]["state"] in ("reserved", "captured"))


async def test_kill_9_of_the_worker_midway_is_retried_with_one_charge(stack: Stack) -> None:
    http = await stack.new_user("wanda")
    row = await stack.submit(http, **MIDDLING)
    part = worker_of(await stack.processing(http, row["jobId"]))
    pid = await stack.kill(part)
    done = await stack.state(http, row["jobId"], "completed")
    assert done["attempt"] == 2
    assert done["tries"] == 2
    assert done["charge"]["state"] == "captured"
    assert await charged(stack, "wanda") == pytest.approx(MIDDLING["num_frames"] / 24)
    await stack.back(part, pid)


async def test_a_worker_that_hangs_is_replaced_and_hears_again_when_it_wakes(stack: Stack) -> None:
    http = await stack.new_user("hank")
    first = await stack.submit(http, **MIDDLING)
    asleep = worker_of(await stack.processing(http, first["jobId"]))
    async with stack.suspended(asleep):
        done = await stack.state(http, first["jobId"], "completed")
        assert (done["attempt"], worker_of(done)) == (2, other_than(asleep))
    async with stack.suspended(other_than(asleep)):
        second = await stack.submit(http)
        ended = await stack.state(http, second["jobId"], "completed")
    assert worker_of(ended) == asleep
    assert (await http.get(f"/api/runpod/{first['jobId']}")).json() == done
    assert await charged(stack, "hank") == pytest.approx((31 + 7) / 24)


async def test_kill_9_of_streams_midway_loses_and_doubles_nothing(stack: Stack) -> None:
    http = await stack.new_user("stan")
    rows = [await stack.submit(http, num_frames=13) for _ in range(2)]
    await stack.processing(http, rows[0]["jobId"])
    pid = await stack.kill("streams")
    late = await http.post("/api/runpod", json={"prompt": "while nobody decides", "width": 384, "height": 384})
    assert late.status_code in (200, 202), late.text
    ids = [row["jobId"] for row in rows] + [late.json()["jobId"]]
    await stack.back("streams", pid)
    ended = [await stack.state(http, job_id, "completed") for job_id in ids]
    assert [row["charge"]["state"] for row in ended] == ["captured"] * 3
    assert len((await http.get("/api/videos")).json()) == 3


async def test_a_socket_resumed_by_position_over_a_gateway_restart_misses_nothing(stack: Stack) -> None:
    http = await stack.new_user("gus")
    async with stack.socket(http) as frames:
        await frames.next(lambda frame: frame["type"] == "snapshot")
        row = await stack.submit(http, num_frames=13)
        queued = await frames.next(lambda frame: frame["type"] == "event" and frame["data"]["state"] == "queued")
        pid = await stack.kill("gateway")
    await stack.back("gateway", pid)
    await stack.state(http, row["jobId"], "completed")

    async with stack.socket(http, position=queued["position"]) as resumed:
        first = await resumed.next(lambda frame: frame["type"] in ("resumed", "snapshot"))
        assert (first["type"], first["recovered"]) == ("resumed", True)
        await resumed.next(lambda frame: frame["type"] == "event" and frame["data"]["state"] == "completed")
    versions = [frame["data"]["version"] for frame in resumed.seen if frame["type"] == "event"]
    assert versions == list(range(queued["data"]["version"] + 1, versions[-1] + 1))


async def test_the_whole_stack_answers_ready_after_all_that(stack: Stack) -> None:
    async def ready() -> bool:
        return (await stack.http.get("/readyz")).status_code == 200

    await until(ready, "/readyz")
    code, output = await stack.command("status")
    assert code == 0, output
