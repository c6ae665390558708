"""A user's own web server is told how a video ended, signed with the secret that the API showed once."""

import pytest
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


async def came(receiver: Receiver, count: int) -> list[Call]:
    async def look() -> list[Call] | None:
        return receiver.at("/wanda") if len(receiver.at("/wanda")) >= count else None

    return await until(look, f"{count} webhooks")
