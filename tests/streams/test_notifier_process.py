"""The notifier as a process on the real servers, and users' web servers: kills, replays, receivers that misbehave."""

import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from gateway.core.webhooks import redelivered, rotated, trial
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import ObjectStore
from repo.stores import ObjectStores
from repo.values import output_of
from schemas.access import Person
from schemas.accounts import Account
from schemas.api.runpod import status_object
from schemas.codec import encode
from schemas.deliveries import JOBS, Delivery, DeliveryState, Endpoint, Hooks, WebhookEvent, delivery_id_of
from schemas.endpoints import EndpointKind, ServerlessEndpoint
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.topics import EVENTS
from tests.streams.core.test_job_calls import ended as ended_job
from tests.streams.core.test_notices import job
from tests.streams.receiver import Call, Receiver, never, receiving
from tests.streams.streams_process import StreamsProcess, eventually
from tests.streams.submissions import new_id
from tests.streams.test_senders import Mailbox, smtp

pytestmark = pytest.mark.servers

SECRET, NEW_SECRET = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQ=", "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXc="
ORIGIN = "https://videos.example"


class HastyNotifier(StreamsProcess):
    """With waits of milliseconds."""

    COMMAND = (sys.executable, "-m", "tests.streams.hasty_notifier", "--role", "notifier")


@dataclass
class Town:
    """The servers, a notifier, and the world outside."""

    log: KafkaEventLog
    database: MongoDatabase
    receiver: Receiver
    mailbox: Mailbox
    environment: Mapping[str, str]
    folder: Path
    process: StreamsProcess

    async def user(self, *paths: str) -> tuple[str, list[str]]:
        """A user with an endpoint for each path; its id and theirs."""
        user_id = new_id("user-")
        endpoints = tuple(
            Endpoint(
                endpoint_id=new_id("wh_"),
                url=self.receiver.url(path),
                listens=dict.fromkeys(WebhookEvent, 0),
                secret=SECRET,
                created_at=1,
                updated_at=1,
            )
            for path in paths
        )
        assert await self.database.deliveries.store_hooks(Hooks(user_id=user_id, version=1, endpoints=endpoints), 0)
        return user_id, [one.endpoint_id for one in endpoints]

    async def ends(self, user_id: str, state: State = State.COMPLETED, **changes: Any) -> Job:
        """A job of the user ends so: the event is in the log."""
        made = job(state, job_id=new_id("job-"), user_id=user_id, finished_at=now_ms(), updated_at=now_ms(), **changes)
        await self.say(made)
        return made

    async def job_ends(self, path: str, state: State = State.COMPLETED, **changes: Any) -> tuple[Job, str]:
        """A job of external workers that came with this address ends so; with its delivery's id."""
        values: dict[str, Any] = {
            "job_id": new_id("job-"),
            "user_id": new_id("user-"),
            "webhook": self.receiver.url(path),
            "finished_at": now_ms(),
            "updated_at": now_ms(),
        }
        made = ended_job(state, **(values | changes))
        assert await self.database.jobs.store_job(made, 0)
        await self.say(made)
        return made, delivery_id_of(made.job_id, made.run, JOBS)

    async def endpoint(self) -> str:
        """A serverless endpoint whose calls are signed; its id."""
        made = ServerlessEndpoint(
            endpoint_id=new_id("e-"),
            kind=EndpointKind.EXTERNAL,
            pool="p",
            version=1,
            created_at=1,
            updated_at=1,
            webhook_secret=SECRET,
        )
        assert await self.database.endpoints.store_endpoint(made, 0)
        return made.endpoint_id

    async def say(self, made: Job) -> None:
        await self.log.append(encode(JobEvent(made), source="/tests", at=now_ms()))

    async def over(self, delivery_id: str) -> Delivery:
        """The delivery once it is over."""

        async def is_over() -> Delivery | None:
            found = await self.database.deliveries.delivery(delivery_id)
            return found if found is not None and found.next_at is None else None

        found = await eventually(is_over, what=f"{delivery_id} over\n{self.process.words()}")
        assert found is not None
        return found

    async def calls(self, path: str, count: int = 1) -> list[Call]:
        async def came() -> list[Call]:
            found = self.receiver.at(path)
            return found if len(found) >= count else []

        return await eventually(came, what=f"{count} calls of {path}\n{self.process.words()}")

    async def start_another(self) -> None:
        self.process.close()
        self.process = HastyNotifier(self.environment, self.folder / "log")
        await self.process.ready()


@pytest.fixture(scope="module")
async def town(
    servers: Mapping[str, str],
    database: str,
    kafka_log: KafkaEventLog,
    mongo: MongoDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("notifier")
    async with receiving() as receiver, smtp() as mailbox:
        environment = {
            **servers,
            "MONGODB_DATABASE": database,
            "OPENV_PUBLIC_URL": f"{ORIGIN}/",
            "OPENV_WEBHOOK_ALLOW_HTTP": "true",
            "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "OPENV_SMTP_HOST": "127.0.0.1",
            "OPENV_SMTP_PORT": str(mailbox.port),
            "OPENV_SMTP_FROM": "OpenV <openv@mail.example>",
            "OPENV_SMTP_TLS": "none",
            "http_proxy": "http://127.0.0.1:9",
        }
        process = HastyNotifier(environment, folder / "log")
        made = Town(kafka_log, mongo, receiver, mailbox, environment, folder, process)
        try:
            await process.ready()
            yield made
            assert await made.process.terminate() == 0, made.process.words()
        finally:
            made.process.close()


async def test_an_end_arrives_signed_at_every_endpoint_of_that_user_alone(town: Town) -> None:
    user_id, endpoints = await town.user("/a", "/b")
    await town.user("/somebody-else")
    ended = await town.ends(user_id)
    for path, endpoint_id in zip(("/a", "/b"), endpoints, strict=True):
        (call,) = await town.calls(path)
        assert Webhook(SECRET).verify(call.body, call.headers) == call.told
        assert call.id == delivery_id_of(ended.job_id, 1, endpoint_id)
        assert (call.told["type"], call.told["data"]["jobId"]) == ("video.completed", ended.job_id)
        delivery = await town.over(call.id)
        assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("succeeded", [204])
    assert town.receiver.at("/somebody-else") == []


async def test_a_failure_is_sent_again_with_the_same_id_and_body_and_a_new_signature(town: Town) -> None:
    town.receiver.answers["/shaky"] = lambda _: web.Response(status=500 if len(town.receiver.at("/shaky")) < 3 else 200)
    user_id, _ = await town.user("/shaky")
    await town.ends(user_id, State.CANCELLED)
    calls = await town.calls("/shaky", 3)
    assert len({(call.id, call.body) for call in calls}) == 1
    for call in calls:
        Webhook(SECRET).verify(call.body, call.headers)
    delivery = await town.over(calls[0].id)
    assert [attempt.status for attempt in delivery.attempts] == [500, 500, 200]
    assert delivery.state is DeliveryState.SUCCEEDED


async def test_who_says_410_is_told_no_more(town: Town) -> None:
    town.receiver.answers["/gone"] = lambda _: web.Response(status=410)
    user_id, (endpoint_id,) = await town.user("/gone")
    await town.ends(user_id)
    await town.calls("/gone")

    async def is_disabled() -> bool:
        return not (await town.database.deliveries.hooks(user_id)).endpoints[0].enabled

    await eventually(is_disabled)
    second = await town.ends(user_id)
    marker, _ = await town.user("/marker-410")
    while town.log.partition_of(EVENTS.name, marker.encode()) != town.log.partition_of(EVENTS.name, user_id.encode()):
        marker, _ = await town.user("/marker-410")
    await town.ends(marker)
    await town.calls("/marker-410")  # what was said before it was read before it
    assert await town.database.deliveries.delivery(delivery_id_of(second.job_id, 1, endpoint_id)) is None
    assert len(town.receiver.at("/gone")) == 1


async def test_a_redirect_is_not_followed_and_a_private_address_not_met(town: Town) -> None:
    inside = town.receiver.url("/inside")
    town.receiver.answers["/away"] = lambda _: web.Response(status=307, headers={"Location": inside})
    user_id, (endpoint_id,) = await town.user("/away")
    hooks = await town.database.deliveries.hooks(user_id)
    metadata = replace(hooks.endpoints[0], endpoint_id=new_id("wh_"), url="http://169.254.169.254/latest/meta-data")
    both = replace(hooks, version=2, endpoints=(hooks.endpoints[0], metadata))
    assert await town.database.deliveries.store_hooks(both, 1)
    ended = await town.ends(user_id)
    away = await town.over(delivery_id_of(ended.job_id, 1, endpoint_id))
    assert {attempt.error for attempt in away.attempts} == {"HTTP 307: redirects are not followed"}
    refused = await town.over(delivery_id_of(ended.job_id, 1, metadata.endpoint_id))
    assert {attempt.error for attempt in refused.attempts} == {"the host does not lead to a public address"}
    assert (away.state, refused.state) == (DeliveryState.FAILED, DeliveryState.FAILED)
    assert town.receiver.at("/inside") == []


async def test_a_slow_endpoint_delays_nobody(town: Town) -> None:
    town.receiver.answers["/slow"] = never
    slow, (slow_id,) = await town.user("/slow")
    quick, _ = await town.user("/quick")
    for _ in range(10):
        await town.ends(slow)
    await town.calls("/slow", 2)
    await town.ends(quick)
    await town.calls("/quick")
    waiting = await town.database.deliveries.deliveries_of(slow, slow_id)
    assert any(one.next_at is not None for one in waiting), "the slow ones are not over while the quick one is told"
    await town.database.deliveries.store_hooks(Hooks(user_id=slow, version=2), 1)  # it is deleted: peace


async def test_while_a_secret_is_replaced_both_sign_and_tests_and_redelivery_go_out(town: Town) -> None:
    user_id, (endpoint_id,) = await town.user("/turning")
    hooks = await town.database.deliveries.hooks(user_id)
    turned = rotated(hooks.endpoints[0], NEW_SECRET, now_ms())
    assert await town.database.deliveries.store_hooks(replace(hooks, version=2, endpoints=(turned,)), 1)
    await town.database.deliveries.add(trial(user_id, endpoint_id, new_id("msg_"), now_ms()))
    (test,) = await town.calls("/turning")
    assert test.told["type"] == "webhook.test"
    ended = await town.ends(user_id)
    first = (await town.calls("/turning", 2))[1]
    for secret in (SECRET, NEW_SECRET):
        Webhook(secret).verify(first.body, first.headers)
    over = await town.over(delivery_id_of(ended.job_id, 1, endpoint_id))
    again = redelivered(over, now_ms())
    assert again is not None
    assert await town.database.deliveries.store_delivery(again, over.version)
    second = (await town.calls("/turning", 3))[2]
    assert (second.id, second.body) == (first.id, first.body)


async def test_a_failure_is_mailed_once_and_nothing_else_is(town: Town) -> None:
    user_id, _ = await town.user()
    address = f"{user_id}@home.example"
    await town.database.access.store_person(Person(user_id=user_id, updated_at=1, email=address))
    await town.ends(user_id, State.COMPLETED)
    await town.ends(user_id, State.CANCELLED)
    failed = await town.ends(user_id, State.TIMED_OUT)
    await town.say(failed)
    delivery = await town.over(delivery_id_of(failed.job_id, 1, "mail"))
    assert delivery.state is DeliveryState.SUCCEEDED
    (content,) = [content for _, to, content in town.mailbox.letters if to == [address]]
    letter = message_from_bytes(content, policy=policy.default)
    assert failed.job_id in letter.get_body().get_content()
    assert f"{ORIGIN}/" in letter.get_body().get_content()
    assert address not in town.process.log.read_text()


async def test_a_jobs_address_is_told_as_runpod_tells_it_and_only_200_counts(town: Town) -> None:
    answers = iter((500, 201, 200))
    town.receiver.answers["/job"] = lambda _: web.Response(status=next(answers))
    endpoint_id = await town.endpoint()
    made, delivery_id = await town.job_ends("/job?token=hidden", State.FAILED, endpoint=endpoint_id)
    over = await town.over(delivery_id)
    assert (over.state, [attempt.status for attempt in over.attempts]) == (DeliveryState.SUCCEEDED, [500, 201, 200])
    calls = town.receiver.at("/job")
    for call in calls:
        assert call.id == delivery_id
        Webhook(SECRET).verify(call.body, call.headers)
        assert call.told == status_object(made, {"output": 1}) | {"input": {}, "webhook": made.webhook}
    assert len(calls) == 3
    assert "hidden" not in town.process.log.read_text()


async def test_three_tries_and_no_more_and_none_to_a_private_address(town: Town) -> None:
    town.receiver.answers["/never"] = lambda _: web.Response(status=204)
    _, refused = await town.job_ends("/never", State.CANCELLED, output=None)
    inside = "http://169.254.169.254/latest/meta-data"
    _, barred = await town.job_ends("/", State.TIMED_OUT, output=None, webhook=inside)
    for delivery_id, error in (
        (refused, "HTTP 204: only 200 counts"),
        (barred, "the host does not lead to a public address"),
    ):
        over = await town.over(delivery_id)
        assert (over.state, [attempt.error for attempt in over.attempts]) == (DeliveryState.FAILED, [error] * 3)
    assert [call.id for call in town.receiver.at("/never")] == ["", "", ""], "unsigned: the endpoint has no secret"


async def test_what_lies_in_s3_is_sent_whole(town: Town, object_store: ObjectStore) -> None:
    town.receiver.answers["/large"] = lambda _: web.Response(status=200)
    word = orjson.dumps({"output": "x" * 2_000_000})
    output = await output_of(ObjectStores(object_store), "ann", new_id("job-"), 1, "w", "s", word)
    made, delivery_id = await town.job_ends("/large", output=output)
    assert (await town.over(delivery_id)).state is DeliveryState.SUCCEEDED
    (call,) = town.receiver.at("/large")
    assert (call.told["id"], len(call.told["output"])) == (made.job_id, 2_000_000)


async def test_of_a_deleted_user_nothing_is_sent_any_more(town: Town) -> None:
    town.receiver.answers["/left"] = lambda _: web.Response(status=503, headers={"Retry-After": "3600"})
    user_id, (endpoint_id,) = await town.user("/left")
    ended = await town.ends(user_id)
    await town.calls("/left")
    told = Account(user_id=user_id, version=1, deleted_at=now_ms(), deleted_issued_at=now_ms())
    assert await town.database.jobs.store_account(told, 0)
    await town.log.append(encode(AccountEvent(told), source="/tests", at=now_ms()))

    async def is_forgotten() -> bool:
        delivery = await town.database.deliveries.delivery(delivery_id_of(ended.job_id, 1, endpoint_id))
        return delivery is None and not (await town.database.deliveries.hooks(user_id)).endpoints

    await eventually(is_forgotten)


async def has_read_all(town: Town) -> bool:
    """Whether the notifier has applied, and noted, every event there is."""
    ends = await town.log.ends(EVENTS.name)
    applied = await town.database.jobs.applied_offsets("notifier")
    return all(applied.get(partition, -1) >= end - 1 for partition, end in ends.items() if end)


async def test_killed_while_it_sends_another_sends_it_with_the_same_id_and_a_replay_tells_nothing(town: Town) -> None:
    town.receiver.answers["/killed"] = town.receiver.answers["/killed-job"] = never
    user_id, (endpoint_id,) = await town.user("/killed")
    ended = await town.ends(user_id)
    (first,) = await town.calls("/killed")
    _, of_job = await town.job_ends("/killed-job", endpoint=await town.endpoint())
    (job_call,) = await town.calls("/killed-job")
    await eventually(lambda: has_read_all(town))
    town.process.kill()
    documents = town.database.connection.collection("deliveries")
    known = await documents.count_documents({})
    told = {call.id for call in town.receiver.calls} - {first.id, of_job}
    counts = {call_id: sum(call.id == call_id for call in town.receiver.calls) for call_id in told}
    letters = len(town.mailbox.letters)
    town.receiver.answers.pop("/killed")
    town.receiver.answers["/killed-job"] = lambda _: web.Response(status=200)
    for partition in range(EVENTS.partitions):  # as if it had never read the topic: all of it is read again
        await town.database.jobs.reset_applied_offset("notifier", partition)
    await town.start_another()
    second = (await town.calls("/killed", 2))[1]
    assert (second.id, second.body) == (first.id, first.body)
    Webhook(SECRET).verify(second.body, second.headers)
    assert (await town.over(delivery_id_of(ended.job_id, 1, endpoint_id))).state is DeliveryState.SUCCEEDED
    job_again = (await town.calls("/killed-job", 2))[1]
    assert (job_again.id, job_again.body) == (of_job, job_call.body)
    Webhook(SECRET).verify(job_again.body, job_again.headers)
    assert (await town.over(of_job)).state is DeliveryState.SUCCEEDED
    await eventually(lambda: has_read_all(town), what="the whole topic read again")
    assert await documents.count_documents({}) == known
    assert {call_id: sum(call.id == call_id for call in town.receiver.calls) for call_id in told} == counts
    assert len(town.mailbox.letters) == letters
