"""Users' webhooks over HTTP: two users who try each other's, secrets shown once, the log and redelivery."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from repo.clock import now_ms
from schemas.access import Scope
from schemas.accounts import Role
from schemas.deliveries import (
    JOB_KEPT_MS,
    JOBS,
    Attempt,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Hooks,
    Step,
    WebhookEvent,
    step,
)
from tests.gateway.world import World, settings, started

URL = "https://8.8.8.8/hook?key=1"  # no name: these tests ask no resolver
ROUTES = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/rotate"),
    ("POST", "/test"),
    ("GET", "/deliveries"),
    ("POST", "/deliveries/msg_1/redeliver"),
]


async def made(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await http.post("/api/webhooks", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/webhooks/{told['id']}"
    return told


async def hooks_of(world: World, user_id: str = "ada") -> Hooks:
    return await world.database.deliveries.hooks(user_id)


def delivery(endpoint_id: str, delivery_id: str = "msg_1", **changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "delivery_id": delivery_id,
        "user_id": "ada",
        "endpoint_id": endpoint_id,
        "kind": DeliveryKind.WEBHOOK,
        "type": "video.failed",
        "body": "{}",
        "version": 1,
        "created_at": 1_000,
        "delete_at": 9_000,
        "next_at": 1_000,
    }
    return Delivery(**(values | changes))


async def test_a_webhook_is_made_shown_changed_and_deleted(world: World) -> None:
    async with world.client() as http:
        before = now_ms()
        told = await made(http, description="mine")
        secret = told.pop("secret")
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
        Webhook(secret)
        assert told == {
            "id": told["id"],
            "url": URL,
            "events": ["video.completed", "video.failed", "video.cancelled"],
            "description": "mine",
            "enabled": True,
            "createdAt": told["createdAt"],
            "updatedAt": told["createdAt"],
        }
        address = f"/api/webhooks/{told['id']}"
        assert (await http.get(address)).json() == told
        assert (await http.get("/api/webhooks")).json() == {"webhooks": [told]}
        assert secret not in (await http.get("/api/webhooks")).text
        (endpoint,) = (await hooks_of(world)).endpoints
        assert all(since >= before for since in endpoint.listens.values()), "nothing of the past is told"

        change = {"events": ["video.failed"], "description": None, "url": "https://1.1.1.1/other"}
        changed = (await http.patch(address, json=change)).json()
        assert (changed["events"], changed["url"], changed["description"]) == (["video.failed"], change["url"], "mine")
        assert (await http.delete(address)).status_code == 204
        assert (await http.get(address)).status_code == 404
        assert (await http.delete(address)).status_code == 404
        assert (await http.get("/api/webhooks")).json() == {"webhooks": []}


async def test_nobody_meets_anybody_elses(world: World) -> None:
    async with world.client("ada") as ada, world.client("eve") as eve, world.client(None) as nobody:
        told = await made(ada)
        await world.database.deliveries.add(delivery(told["id"]))
        standing = await hooks_of(world)
        for method, path in ROUTES:
            address = f"/api/webhooks/{told['id']}{path}"
            body = {"json": {"enabled": False}} if method == "PATCH" else {}
            answer = await eve.request(method, address, **body)
            unknown = await eve.request(method, address.replace(told["id"], "wh_unknown"), **body)
            assert (answer.status_code, answer.json()) == (404, {"error": "Webhook not found"}), (method, path)
            assert (unknown.status_code, unknown.json()) == (answer.status_code, answer.json())
            assert (await nobody.request(method, address, **body)).status_code == 401
        assert (await eve.get("/api/webhooks")).json() == {"webhooks": []}
        own = await made(eve)
        crossed = f"/api/webhooks/{own['id']}/deliveries/msg_1/redeliver"
        assert (await eve.post(crossed)).json() == {"error": "Delivery not found"}
        assert await hooks_of(world) == standing
        assert (await world.database.deliveries.delivery("msg_1")) == delivery(told["id"])


async def test_who_may_make_no_videos_makes_the_server_call_nobody(world: World) -> None:
    async with world.client() as http:
        told = await made(http)
    async with world.client(role=Role.RESTRICTED) as guest:
        one = f"/api/webhooks/{told['id']}"
        for method, path, body in (
            ("POST", "/api/webhooks", {"url": URL}),
            ("PATCH", one, {"description": "x"}),
            ("POST", f"{one}/test", None),
            ("POST", f"{one}/rotate", None),
            ("POST", f"{one}/deliveries/msg_1/redeliver", None),
        ):
            assert (await guest.request(method, path, json=body)).status_code == 403, path
        assert (await guest.delete(one)).status_code == 204, "what is there may go"


async def test_who_may_only_look_changes_nothing(world: World) -> None:
    async with world.client() as http, world.client(scopes=(Scope.READ,)) as reader:
        told = await made(http)
        for method, path in [("POST", ""), *[(method, f"/{told['id']}{path}") for method, path in ROUTES]]:
            answer = await reader.request(method, f"/api/webhooks{path}", json={"url": URL})
            assert answer.status_code == (200 if method == "GET" else 403), (method, path)
        assert len((await hooks_of(world)).endpoints) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": None}, "url"),
        ({"url": "http://8.8.8.8/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://2130706433/"}, "url"),
        ({"url": "https://localhost:8443/"}, "url"),
        ({"url": "https://user:pw@8.8.8.8/"}, "url"),
        ({"url": "https://8.8.8.8:22/"}, "url"),
        ({"url": "https://8.8.8.8/" + "x" * 3000}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["video.rejected"]}, "events"),
        ({"url": URL, "events": "video.failed"}, "events"),
        ({"url": URL, "events": [None]}, "events"),
        ({"url": URL, "description": "x" * 201}, "description"),
        ([], "body"),
        ("x", "body"),
    ],
)
async def test_what_can_not_be_a_webhook(world: World, body: Any, field: str) -> None:
    async with world.client() as http:
        answer = await http.post("/api/webhooks", json=body)
        assert answer.status_code == 400, answer.text
        told = answer.json()
        assert (told["error"], [line["field"] for line in told["details"]]) == ("Validation failed", [field])
        assert (await http.get("/api/webhooks")).json() == {"webhooks": []}
        if isinstance(body, dict) and "url" in body and field == "url" and body["url"] is not None:
            own = await made(http)
            changed = await http.patch(f"/api/webhooks/{own['id']}", json=body)
            assert changed.status_code == 400
            assert (await hooks_of(world)).endpoints[0].url == URL


async def test_no_more_than_allowed_whoever_races() -> None:
    async with started(settings(webhooks_per_user=3, webhook_changes=1000)) as world, world.client() as http:
        answers = await asyncio.gather(*(http.post("/api/webhooks", json={"url": URL}) for _ in range(12)))
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 9
        assert len((await hooks_of(world)).endpoints) == 3
        full = next(answer for answer in answers if answer.status_code == 409)
        assert full.json()["limit"] == 3
        async with world.client("bob") as bob:
            await made(bob)


async def test_a_new_secret_is_shown_once_and_the_old_one_is_kept_for_a_day(world: World) -> None:
    async with world.client() as http:
        told = await made(http)
        answer = (await http.post(f"/api/webhooks/{told['id']}/rotate")).json()
        assert answer["secret"] not in (told["secret"], "")
        shown = (await http.get(f"/api/webhooks/{told['id']}")).json()
        assert "secret" not in shown
        assert shown["previousSecretUntil"] > shown["updatedAt"]
    (endpoint,) = (await hooks_of(world)).endpoints
    assert (endpoint.secret, endpoint.retired[0].secret) == (answer["secret"], told["secret"])
    assert 86_300_000 < endpoint.retired[0].until - now_ms() <= 86_400_000


async def test_enabling_it_again_forgets_why_and_tells_nothing_of_the_time_between(world: World) -> None:
    async with world.client() as http:
        told = await made(http, events=["video.failed"])
        hooks = await hooks_of(world)
        off = replace(
            hooks.endpoints[0],
            enabled=False,
            disabled_reason="It broke.",
            failing_since=5,
            listens={WebhookEvent.FAILED: 7},
        )
        assert await world.database.deliveries.store_hooks(
            replace(hooks, version=hooks.version + 1, endpoints=(off,)), hooks.version
        )
        address = f"/api/webhooks/{told['id']}"
        assert (await http.get(address)).json()["disabledReason"] == "It broke."
        kept = await http.patch(address, json={"events": ["video.failed", "video.completed"]})
        assert kept.json()["enabled"] is False
        (endpoint,) = (await hooks_of(world)).endpoints
        assert endpoint.listens[WebhookEvent.FAILED] == 7, "what it listened to goes on"
        assert endpoint.listens[WebhookEvent.COMPLETED] > 7
        before = now_ms()
        on = (await http.patch(address, json={"enabled": True})).json()
        assert on["enabled"]
        assert not {"disabledReason", "failingSince"} & set(on)
        (endpoint,) = (await hooks_of(world)).endpoints
        assert min(endpoint.listens.values()) >= before


async def test_the_log_shows_attempts_in_pages_and_no_secret(world: World) -> None:
    async with world.client() as http:
        told = await made(http)
        store = world.database.deliveries
        tries = (Attempt(at=2_000, duration_ms=15, status=500, error="HTTP 500"), Attempt(at=3_000, duration_ms=9))
        for number in range(5):
            await store.add(delivery(told["id"], f"msg_{number}", created_at=1_000 + number // 2, attempts=tries))
        await store.add(delivery("wh_other", "msg_other"))
        address = f"/api/webhooks/{told['id']}/deliveries"
        everything = (await http.get(address)).json()
        assert [one["id"] for one in everything["deliveries"]] == [f"msg_{number}" for number in (4, 3, 2, 1, 0)]
        assert "next" not in everything
        assert everything["deliveries"][0] == {
            "id": "msg_4",
            "type": "video.failed",
            "state": "pending",
            "createdAt": "1970-01-01T00:00:01.002Z",
            "nextAttemptAt": "1970-01-01T00:00:01.000Z",
            "attempts": [
                {"at": "1970-01-01T00:00:02.000Z", "durationMs": 15, "status": 500, "error": "HTTP 500"},
                {"at": "1970-01-01T00:00:03.000Z", "durationMs": 9},
            ],
        }
        first = (await http.get(address, params={"limit": "2"})).json()
        second = (await http.get(address, params={"limit": "2", "before": first["next"]})).json()
        third = (await http.get(address, params={"limit": "2", "before": second["next"]})).json()
        pages = [*first["deliveries"], *second["deliveries"], *third["deliveries"]]
        assert pages == everything["deliveries"]
        assert "next" not in third
        for wrong in ({"before": "x"}, {"before": "1.$ne"}, {"limit": "0"}, {"limit": "101"}, {"limit": "²"}):
            assert (await http.get(address, params=wrong)).status_code == 400, wrong
        assert (await http.delete(f"/api/webhooks/{told['id']}")).status_code == 204
        assert await store.delivery("msg_0") is None
        assert await store.delivery("msg_other") is not None


@pytest.mark.parametrize("state", DeliveryState)
async def test_redelivery_by_hand_is_the_same_delivery_from_its_first_try_on(
    world: World, state: DeliveryState
) -> None:
    async with world.client() as http:
        told = await made(http)
        store = world.database.deliveries
        tries = (Attempt(at=2_000, duration_ms=15, status=500, error="HTTP 500"),)
        next_at = 10**13 if state in (DeliveryState.PENDING, DeliveryState.SENDING) else None
        standing = delivery(told["id"], state=state, tries=7, attempts=tries, next_at=next_at, reason="r")
        await store.add(standing)
        answer = await http.post(f"/api/webhooks/{told['id']}/deliveries/msg_1/redeliver")
        after = await store.delivery("msg_1")
        assert after is not None
        if step(state, Step.REDELIVERED) is None:
            assert (answer.status_code, after) == (409, standing)
            return
        assert answer.status_code == 202
        assert answer.json()["id"] == "msg_1"
        assert (after.state, after.tries, after.attempts, after.reason) == (DeliveryState.PENDING, 0, tries, None)
        assert after.next_at is not None
        assert after.next_at <= now_ms() < after.delete_at
        assert (after.body, after.created_at) == (standing.body, standing.created_at)


def about(job_id: str, delivery_id: str, **changes: Any) -> Delivery:
    values = {"kind": DeliveryKind.JOB, "type": "job.failed", "body": "", "job_id": job_id, "run": 1, "url": URL}
    return delivery(JOBS, delivery_id, **(values | {"to": "to_1"} | changes))


async def test_what_the_addresses_of_jobs_were_told_is_their_owners_alone(world: World) -> None:
    address, store = "/api/webhooks/jobs/deliveries", world.database.deliveries
    async with world.client() as ada, world.client("eve") as eve, world.client(None) as nobody:
        told = await made(ada)
        await store.add(delivery(told["id"], "msg_video"))
        tries = (Attempt(at=2_000, duration_ms=15, status=500, error="HTTP 500"),)
        over = about("j1", "msg_1", state=DeliveryState.FAILED, next_at=None, attempts=tries, tries=3, version=4)
        for one in (over, about("j2", "msg_2", created_at=2_000), about("j1", "msg_3", created_at=3_000)):
            await store.add(one)
        log = (await ada.get(address)).json()
        assert [one["id"] for one in log["deliveries"]] == ["msg_3", "msg_2", "msg_1"]
        assert log["deliveries"][2] == {
            "id": "msg_1",
            "type": "job.failed",
            "state": "failed",
            "createdAt": "1970-01-01T00:00:01.000Z",
            "attempts": [
                {
                    "at": "1970-01-01T00:00:02.000Z",
                    "durationMs": 15,
                    "status": 500,
                    "error": "HTTP 500",
                }
            ],
            "jobId": "j1",
            "url": URL,
        }
        of_one = {"jobId": "j1", "limit": "1"}
        first = (await ada.get(address, params=of_one)).json()
        second = (await ada.get(address, params={**of_one, "before": first["next"]})).json()
        assert [one["id"] for page in (first, second) for one in page["deliveries"]] == ["msg_3", "msg_1"]
        assert "next" not in second
        assert (await ada.get(address, params={"limit": "0"})).status_code == 400
        assert (await ada.get(address, params={"jobId": "unknown"})).json() == {"deliveries": []}

        assert (await eve.get(address)).json() == {"deliveries": []}
        assert (await eve.get(address, params={"jobId": "j1"})).json() == {"deliveries": []}
        for http, status in ((eve, 404), (nobody, 401)):
            assert (await http.post(f"{address}/msg_1/redeliver")).status_code == status
        assert (await nobody.get(address)).status_code == 401
        for foreign in ("msg_video", "msg_unknown"):
            answer = await ada.post(f"{address}/{foreign}/redeliver")
            assert (answer.status_code, answer.json()) == (404, {"error": "Delivery not found"})
        assert await store.delivery("msg_1") == over

        answer = await ada.post(f"{address}/msg_1/redeliver")
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        again = await store.delivery("msg_1")
        assert again is not None
        assert (again.tries, again.run, again.to, again.attempts) == (0, 1, "to_1", tries)
        assert again.next_at is not None
        assert 0 < again.delete_at - again.next_at <= JOB_KEPT_MS
        assert (await ada.get("/api/webhooks/jobs")).status_code == 404, "no webhook of theirs is called so"
    async with world.client(role=Role.RESTRICTED) as guest:
        assert (await guest.post(f"{address}/msg_1/redeliver")).status_code == 403


async def test_a_disabled_webhook_is_tested_but_nothing_is_redelivered_to_it(world: World) -> None:
    async with world.client() as http:
        told = await made(http)
        address = f"/api/webhooks/{told['id']}"
        await http.patch(address, json={"enabled": False})
        await world.database.deliveries.add(delivery(told["id"], state=DeliveryState.FAILED, next_at=None))
        assert (await http.post(f"{address}/deliveries/msg_1/redeliver")).status_code == 409
        answer = await http.post(f"{address}/test")
        assert answer.status_code == 202
        test = await world.database.deliveries.delivery(answer.json()["id"])
        assert test is not None
        assert (test.kind, test.type, test.user_id) == (DeliveryKind.TEST, "webhook.test", "ada")


async def test_changes_are_shed_in_floods_and_looking_is_not() -> None:
    async with started(settings(webhook_changes=3)) as world, world.client() as http, world.client("bob") as bob:
        told = await made(http)
        address = f"/api/webhooks/{told['id']}"
        statuses = [(await http.post(f"{address}/test")).status_code for _ in range(4)]
        assert statuses == [202, 202, 429, 429]
        assert (await http.get(address)).status_code == 200
        assert (await bob.get("/api/webhooks")).status_code == 200
        await made(bob)


async def test_mongodb_away_is_said(world: World) -> None:
    async with world.client() as http:
        told = await made(http)
        world.database.deliveries.away = True
        answer = await http.get(f"/api/webhooks/{told['id']}")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["mongodb"])
