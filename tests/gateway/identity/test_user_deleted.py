"""A user deleted at Clerk, with real servers, a real gateway and real stream processors: nothing of the user stays."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from gateway.identity.keys import new_key
from repo.clock import now_ms
from repo.core.object_keys import file_key, user_prefix
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import ObjectStore
from schemas.access import Acceptance, Person
from schemas.accounts import Role
from schemas.commands import SetRole
from schemas.lifecycle import State
from tests.gateway.clerk import SECRET, OwnClerk, deleted_event, own_clerk, signed, user_event
from tests.gateway.test_main import output, process, ready
from tests.gateway.world import eventually
from tests.servers import closed_port
from tests.streams.streams_process import streams_running
from tests.streams.submissions import new_id, send

pytestmark = pytest.mark.servers
PROMPT = "a corgi that nobody else may hear of"
MAIL = "corgi@example.org"
WITHIN_S = 40.0


@pytest.fixture
async def clerk() -> AsyncIterator[OwnClerk]:
    async with own_clerk() as one:
        yield one


class Visitor:
    """Somebody with a session at Clerk, at one gateway."""

    def __init__(self, http: httpx.AsyncClient, clerk: OwnClerk, user_id: str) -> None:
        self._http, self._clerk, self.user_id = http, clerk, user_id

    async def ask(self, method: str, path: str, **body: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._clerk.token(self.user_id, azp=None)}"}
        return await self._http.request(method, path, json=body or None, headers=headers)

    async def makes_a_video(self) -> str:
        """Waits until the gateway knows of the role."""

        async def made() -> str | None:
            answer = await self.ask("POST", "/api/runpod", prompt=PROMPT, num_frames=7)
            assert answer.status_code in {200, 202, 403}, answer.text
            return None if answer.status_code == 403 else str(answer.json()["jobId"])

        return str(await eventually(made, WITHIN_S))


async def news(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/api/auth/webhook", content=body, headers=signed(body, message=new_id("msg_")))
    assert answer.status_code == 200, answer.text


async def test_documents_keys_and_files_of_a_deleted_user_go_and_nobody_elses(
    servers: Mapping[str, str], database: str, topics: list[str], tmp_path: Path, clerk: OwnClerk,
    kafka_log: KafkaEventLog, mongo: MongoDatabase, object_store: ObjectStore,
) -> None:  # fmt: skip
    environment = {**servers, "MONGODB_DATABASE": database}
    port, began_at = closed_port(), now_ms()
    ada, bob = new_id("user_a"), new_id("user_b")
    async with (
        streams_running(environment, tmp_path / "log"),
        process(environment, port=port, clerk_issuer=clerk.issuer, clerk_webhook_secret=SECRET) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http,
    ):
        await ready(port)
        visitors = [Visitor(http, clerk, user) for user in (ada, bob)]
        jobs: dict[str, str] = {}
        for visitor in visitors:
            user = visitor.user_id
            person = {"email_addresses": [{"id": "i", "email_address": MAIL}], "primary_email_address_id": "i"}
            await news(http, user_event("user.created", user, began_at, **person))
            await send(kafka_log, SetRole(command_id=new_id(), user_id=user, role=Role.USER, issued_at=now_ms()))
            jobs[user] = await visitor.makes_a_video()
            await object_store.put_bytes(file_key(user, jobs[user], 1, "w", "s", "video"), b"film", "video/mp4")
            await mongo.access.accept_terms(Acceptance(user_id=user, version="1", accepted_at=now_ms()))
            await mongo.access.store_api_key(new_key(user, now=now_ms())[1])

        end = deleted_event(ada, began_at + 1000)
        await asyncio.gather(
            *(news(http, end) for _ in range(5)), news(http, user_event("user.updated", ada, began_at))
        )

        async def gone() -> bool:
            return not await object_store.list_keys(user_prefix(ada)) and not await mongo.access.api_keys(ada)

        await eventually(gone, WITHIN_S)
        document = await mongo.jobs.job(jobs[ada])
        assert document is not None
        assert (document.state, document.request.prompt, document.output) == (State.DELETED, "", None)
        account = await mongo.jobs.account(ada)
        assert account is not None
        assert account.deleted_at is not None
        assert account.pending == {}
        assert await mongo.access.acceptances(ada) == []
        tombstone = Person(user_id=ada, updated_at=began_at + 1000, deleted_at=account.deleted_issued_at)
        assert await mongo.access.person(ada) == tombstone
        assert (await visitors[0].ask("GET", "/api/videos")).status_code == 401, "the token is good, the user is gone"

        assert [row["prompt"] for row in (await visitors[1].ask("GET", "/api/videos")).json()] == [PROMPT]
        assert len(await object_store.list_keys(user_prefix(bob))) == 1
        assert len(await mongo.access.api_keys(bob)) == len(await mongo.access.acceptances(bob)) == 1
        assert (await mongo.access.person(bob)).email == MAIL  # type: ignore[union-attr]

        gateway.terminate()
        said = await output(gateway) + (tmp_path / "log").read_text()
    assert gateway.returncode == 0
    for secret in (PROMPT, MAIL, SECRET, "eyJ"):
        assert secret not in said
