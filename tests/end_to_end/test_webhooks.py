"""A user's own web server is told how a video ended, signed with the secret that the API showed once."""

import httpx
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.end_to_end.stack import LONG, Stack, until
from tests.streams.receiver import Call, Receiver, receiving

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]


async def test_a_users_server_is_told_how_videos_end_and_nobody_elses_is(stack: Stack) -> None:
    async with receiving() as receiver:
        http, other = await stack.new_user("wanda"), await stack.new_user("otto")
        told = await http.post("/api/webhooks", json={"url": receiver.url("/wanda")})
        assert told.status_code == 201, told.text
        assert (await other.post("/api/webhooks", json={"url": receiver.url("/otto")})).status_code == 201
        cancelled = await stack.submit(http, **LONG)
        assert (await http.post(f"/api/runpod/{cancelled['jobId']}/cancel")).status_code == 200
        made = await stack.submit(http)
        calls = await came(receiver, 2)
        for call in calls:
            Webhook(told.json()["secret"]).verify(call.body, call.headers)
        by_job = {call.told["data"]["jobId"]: call.told for call in calls}
        assert by_job[cancelled["jobId"]]["type"] == "video.cancelled"
        completed = by_job[made["jobId"]]
        assert completed["type"] == "video.completed"
        assert completed["data"]["url"].startswith(f"{stack.url}/")
        video = await http.get(completed["data"]["url"], follow_redirects=False)
        assert video.status_code == 307

        async def noted() -> bool:
            log = (await http.get(f"/api/webhooks/{told.json()['id']}/deliveries")).json()["deliveries"]
            return [one["state"] for one in log] == ["succeeded"] * 2 and {one["id"] for one in log} == {
                call.id for call in calls
            }

        await until(noted, "both in the log")
        assert receiver.at("/otto") == []
        assert (await http.delete(f"/api/webhooks/{told.json()['id']}")).status_code == 204


async def test_the_address_of_a_job_of_runpods_api_is_told_what_status_says(stack: Stack) -> None:
    async with receiving() as receiver:
        receiver.answers["/done"] = lambda _: web.Response(status=200)
        http, other = await stack.new_user("rita"), await stack.new_user("oskar")
        given = {"positive_prompt": "a fox in the snow", "width": 384, "height": 384, "num_frames": 7, "steps": 10}
        address = receiver.url("/done?token=hidden")
        asked = await http.post("/v2/mochi-1/run", json={"input": given, "webhook": address})
        assert asked.status_code == 200, asked.text
        job_id = asked.json()["id"]

        async def is_told() -> Call | None:
            return next(iter(receiver.at("/done")), None)

        call = await until(is_told, "the completion webhook")
        told = call.told
        assert call.id == "", "unsigned: the endpoint has no secret"
        assert (told["status"], told["webhook"], told["output"]["status"]) == ("COMPLETED", address, "DONE")
        assert {name: told["input"][name] for name in given} == given
        async with httpx.AsyncClient() as anybody:
            video = await anybody.get(told["output"]["result"])
        assert (video.status_code, video.headers["content-type"]) == (200, "video/mp4")
        status = (await http.get(f"/v2/mochi-1/status/{job_id}")).json()
        same = ("id", "status", "delayTime", "executionTime", "workerId")
        assert {name: told[name] for name in same} == {name: status[name] for name in same}

        log = "/api/webhooks/jobs/deliveries"

        async def noted() -> bool:
            found = (await http.get(log, params={"jobId": job_id})).json()["deliveries"]
            return [(one["state"], one["url"], one["type"]) for one in found] == [
                ("succeeded", address, "job.completed")
            ]

        await until(noted, "it in the log")
        (one,) = (await http.get(log)).json()["deliveries"]
        assert (await other.get(log, params={"jobId": job_id})).json() == {"deliveries": []}
        assert (await other.post(f"{log}/{one['id']}/redeliver")).status_code == 404
        assert (await http.post(f"{log}/{one['id']}/redeliver")).status_code == 202

        async def again() -> bool:
            return len(receiver.at("/done")) == 2

        await until(again, "it told again by hand")
        assert "hidden" not in stack.log.read_text()


async def came(receiver: Receiver, count: int) -> list[Call]:
    async def look() -> list[Call] | None:
        return receiver.at("/wanda") if len(receiver.at("/wanda")) >= count else None

    return await until(look, f"{count} webhooks")
