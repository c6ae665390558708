"""Live connections of the process ``python -m gateway``: an event stream over a restart, nothing secret in a log."""

import asyncio
import signal
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidHandshake

from gateway.identity.keys import new_key
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_jobs import MongoJobStore
from schemas.access import KeyKind
from schemas.api.live import CloseCode
from tests.gateway.sockets import EventClient, socket, stream
from tests.gateway.test_main import fresh, nowhere, output, process, ready, user_with_key, write
from tests.servers import closed_port


async def test_no_key_ticket_or_token_is_in_any_log() -> None:
    port = closed_port()
    address = f"127.0.0.1:{port}"
    key, ticket = new_key("ada", now=0)[0], new_key("ada", now=0, kind=KeyKind.TICKET)[0]
    async with process(nowhere(), port=port, log_level="debug", socket_auth_seconds=1) as running:
        await ready(port, 503)
        for target in (f"/api/live/events?ticket={ticket}", "/api/live/events"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
            await writer.drain()
            writer.close()  # without waiting for MongoDB, as visitors do
        async with socket(address, query=f"?ticket={ticket}") as one, socket(address) as other:
            await other.send(type="auth", token=key)
            assert [await one.closed(), await other.closed()] == [CloseCode.NOT_READY] * 2
        async with socket(address) as client:
            await client.connection.send(f'{{"type":"auth","token":"{key}"')
            assert await client.closed() == CloseCode.UNAUTHORIZED
        for path in (f"/nothing?ticket={ticket}", f"?ticket={ticket}&%ff"):
            with pytest.raises(InvalidHandshake):
                async with socket(address, query=path, origin="http://evil.test"):
                    pass
        for line in (f"GET /ws?ticket={ticket} HTTP/9.9", f"GET /ws?ticket={ticket} HTTP/1.1\r\nUpgrade: websocket"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{line}\r\nHost: {address}\r\nConnection: Upgrade, close\r\n\r\n".encode())
            async with asyncio.timeout(30):
                await reader.read()
            writer.close()
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            said = await output(running)
    assert "debug" in said or "info" in said
    assert key not in said
    assert ticket not in said
    assert "ticket=" not in said


@pytest.mark.servers
async def test_an_event_stream_goes_on_after_its_last_event_over_a_restart(
    servers: dict[str, str],
    database: str,
    kafka_log: KafkaEventLog,
    job_store: MongoJobStore,
    mongo: MongoDatabase,
) -> None:
    user, key = await user_with_key(mongo)
    made = [fresh(user) for _ in range(6)]
    port = closed_port()
    address, environment = f"127.0.0.1:{port}", servers | {"MONGODB_DATABASE": database}
    async with process(environment, port=port) as running:
        await ready(port)
        async with stream(address, key) as client:
            await client.until("snapshot")
            for one in made[:2]:
                await write(kafka_log, job_store, one)
            assert await jobs(client, 2) == [one.job_id for one in made[:2]]
            running.send_signal(signal.SIGTERM)
            said = await client.closed()
            assert (said["code"], said["reconnect"]) == (CloseCode.RESTARTING, True)
        async with asyncio.timeout(5):
            assert "Traceback" not in await output(running)
    assert client.last_id is not None
    for one in made[2:4]:
        await write(kafka_log, job_store, one)
    async with process(environment, port=port):
        await ready(port)
        async with stream(address, key, headers={"Last-Event-ID": client.last_id}) as again:
            assert [event.name for event in await again.until("resumed")] == ["welcome", "resumed"]
            for one in made[4:]:
                await write(kafka_log, job_store, one)
            assert await jobs(again, 4) == [one.job_id for one in made[2:]]
        other = f"user-{uuid4().hex[:8]}"
        secret, ticket = new_key(other, now=now_ms(), kind=KeyKind.TICKET, expires_at=now_ms() + 60_000)
        await mongo.access.store_api_key(ticket)
        async with socket(address, query=f"?ticket={secret}") as by_ticket:
            assert (await by_ticket.receive())["userId"] == other
            await by_ticket.send(type="subscribe", position=again.last_id)
            assert (await by_ticket.receive()).get("jobs", []) == []
        async with stream(address, ticket=secret) as twice:
            assert twice.response.status_code == 401


async def jobs(client: EventClient, count: int) -> list[str]:
    """The jobs of the next job events."""
    return [(await client.until("event"))[-1].data["data"]["jobId"] for _ in range(count)]
