"""The baseline of RunPod's protocol does what the measurements rely on."""

import asyncio

import pytest
from httpx import ASGITransport, AsyncClient

from bench import floor_runpod
from bench.floor_runpod import Jobs, app

AT = "/v2/bench"


@pytest.fixture
def client() -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app(Jobs())), base_url="http://floor")


async def test_a_job_goes_to_a_worker_and_its_result_to_the_client(client: AsyncClient) -> None:
    job = (await client.post(f"{AT}/run", json={"input": {"n": 1}})).json()
    assert job["status"] == "IN_QUEUE"
    taken = await client.get(f"{AT}/job-take/pod-0")
    assert taken.json() == {"id": job["id"], "input": {"n": 1}}
    status = f"{AT}/status/{job['id']}"
    assert (await client.get(status)).json() == {"id": job["id"], "status": "IN_PROGRESS"}
    await client.post(f"{AT}/job-done/pod-0/{job['id']}?gpu=none&isStream=false", content=b'{"output": 2}')
    assert (await client.get(status)).json() == {"id": job["id"], "status": "COMPLETED", "output": 2}
    assert (await client.get(f"{AT}/health")).json() == {"jobs": {"completed": 1, "failed": 0}}


async def test_a_poll_waits_for_a_job_and_others_go_on_waiting(client: AsyncClient) -> None:
    polls = [asyncio.create_task(client.get(f"{AT}/job-take/pod-{number}")) for number in range(3)]
    polls[0].cancel()
    await asyncio.sleep(0)
    ids = [(await client.post(f"{AT}/run", json={"input": {}})).json()["id"] for _ in range(2)]
    answers = await asyncio.gather(*polls[1:])
    assert sorted(answer.json()["id"] for answer in answers) == sorted(ids)


async def test_a_batch_is_what_waits_and_no_more_than_asked_for(client: AsyncClient) -> None:
    ids = [(await client.post(f"{AT}/run", json={"input": {}})).json()["id"] for _ in range(3)]
    for expected in (ids[:2], ids[2:]):
        batch = await client.get(f"{AT}/job-take-batch/pod-0?gpu=none&batch_size=2")
        assert [job["id"] for job in batch.json()] == expected


async def test_a_poll_that_nothing_comes_for_ends_empty(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor_runpod, "POLL_S", 0.01)
    for path in ("job-take/pod-0", "job-take-batch/pod-0?batch_size=4", "job-stop/pod-0"):
        assert (await client.get(f"{AT}/{path}")).status_code == 204


async def test_an_error_is_a_failure(client: AsyncClient) -> None:
    job = (await client.post(f"{AT}/run", json={"input": {}})).json()
    await client.post(f"{AT}/job-done/pod-0/{job['id']}", content=b'{"error": "no"}')
    told = (await client.get(f"{AT}/status/{job['id']}")).json()
    assert told == {"id": job["id"], "status": "FAILED", "error": "no"}
