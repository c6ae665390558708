"""What the processes of a running stack show of themselves, after one job."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.stack import Stack, until

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]

PROMPT = "a zebra that nobody else asked for"
USER = "metered-user"
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def text_of(stack: Stack, part: str) -> str:
    """Asked at the address that `openv status` tells."""

    async def look() -> str | None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as anyone:
            try:
                answer = await anyone.get(stack.about()["parts"][part]["metrics"])
            except httpx.TransportError:  # another test has killed it, and it is being started again
                return None
        assert answer.status_code == 200
        return answer.text

    return await until(look, f"the metrics of {part}")


async def numbers(stack: Stack, part: str) -> Numbers:
    found: Numbers = {}
    for family in text_string_to_metric_families(await text_of(stack, part)):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def total(found: Numbers, name: str, **labels: str) -> float:
    """Of all samples with these labels."""
    return sum(value for (other, has), value in found.items() if other == name and labels.items() <= dict(has).items())


async def test_one_video_moves_the_numbers_of_every_part(stack: Stack) -> None:
    before = {part: await numbers(stack, part) for part in ("gateway", "streams", "worker-1", "worker-2")}
    http = await stack.new_user(USER)
    async with stack.socket(http) as frames:
        await frames.next(lambda frame: frame["type"] == "snapshot")
        row = await stack.submit(http, prompt=PROMPT)
        await stack.state(http, row["jobId"], "completed")

    async def counted() -> bool:
        streams = await numbers(stack, "streams")
        return total(streams, "openv_job_run_seconds_count") > total(before["streams"], "openv_job_run_seconds_count")

    await until(counted, "the run counted")
    after = {part: await numbers(stack, part) for part in before}

    def rose(part: str, name: str, **labels: str) -> float:
        return total(after[part], name, **labels) - total(before[part], name, **labels)

    assert rose("gateway", "openv_http_requests_total", method="POST", status="2xx") >= 1
    assert rose("gateway", "openv_decisions_total", outcome="admitted") >= 1
    assert rose("gateway", "openv_sockets_opened_total", kind="ws") >= 1
    assert rose("gateway", "openv_socket_frames_total") >= 3
    assert total(after["gateway"], "openv_server_away") == 0
    assert rose("streams", "openv_jobs_ended_total", state="completed") >= 1
    assert rose("streams", "openv_attempts_total", outcome="succeeded") >= 1
    assert rose("streams", "openv_video_seconds_total", fate="charged") > 0
    assert rose("streams", "openv_stream_handling_seconds_count", role="ledger") >= 3
    assert total(after["streams"], "openv_pool_workers", state="ready") >= 1
    workers = ("worker-1", "worker-2")
    assert sum(rose(one, "openv_worker_attempts_total", outcome="succeeded") for one in workers) >= 1
    assert sum(rose(one, "openv_worker_phase_seconds_count", phase="denoise") for one in workers) >= 1
    assert sum(rose(one, "openv_worker_uploaded_bytes_total") for one in workers) > 1000
    for part, found in after.items():
        assert 0 <= total(found, "openv_loop_beat_age_seconds") < 60
        shown = await text_of(stack, part)
        for secret in (USER, PROMPT, "zebra", row["jobId"], "admin:"):
            assert secret not in shown
