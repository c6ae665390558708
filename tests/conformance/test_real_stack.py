"""A real gateway and real streams, with every log line kept: Schemathesis tries each operation of the document against
them, and what people sent in confidence is looked for in all that was written."""

import asyncio
import json
import os
import re
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from standardwebhooks import Webhook

from gateway.identity.keys import new_key
from gateway.spec.table import OPERATIONS
from repo.clock import now_ms
from repo.mongo_access import MongoAccessStore
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.instants import to_datetime
from tests.gateway.sockets import socket
from tests.outages.kafka_world import GENEROUS, Started
from tests.servers import closed_port
from tests.streams.streams_process import StreamsProcess, eventually

# The first test also waits for the servers to start, on a machine that may be busy with other things.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,ignored_auth,use_after_free"
)
MARK = "q7Zk3vXw"  # in all that is secret, so that one search finds any of it
WEBHOOK_TOKEN = f"token-{MARK}-of-runpod"
CLERK_SECRET = f"whsec_{b64encode(f'clerk-{MARK}-secret-24-bytes'.encode()).decode()}"
# Limits are other tests' business, but those that a flood of tries meets at once.
LIMITS = {
    "OPENV_USAGE_REQUESTS": "100000",
    "OPENV_WEBHOOK_REQUESTS": "100000",
    "OPENV_WEBHOOK_CHANGES": "100000",
    "OPENV_WEBHOOK_ALLOW_HTTP": "true",
    "OPENV_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "OPENV_WEBHOOKS_PER_USER": "100",
    "OPENV_TICKET_REQUESTS": "100000",
    "OPENV_VOUCHER_TRIES": "100000",
    "OPENV_SERVERLESS_REQUESTS": "100000",
}


class Stack:
    """Both processes, and keys of people."""

    def __init__(self, gateway: Any, streams: StreamsProcess, access: MongoAccessStore) -> None:
        self.gateway = gateway
        self.streams = streams
        self._access = access

    @property
    def url(self) -> str:
        url: str = self.gateway.url
        return url

    async def key(self, user: str, **how: Any) -> str:
        secret, stored = new_key(user, now=now_ms(), **how)
        await self._access.store_api_key(stored)
        return secret

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def written(self) -> str:
        """Every line of every process."""
        return "".join(one.log.read_text(errors="replace") for one in (self.gateway, self.streams))


@pytest.fixture(scope="module")
async def stack(
    servers: Mapping[str, str],
    topics: list[str],
    database: str,
    access_store: MongoAccessStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    told = {
        **servers, **GENEROUS, **LIMITS, "MONGODB_DATABASE": database, "OPENV_LOG_LEVEL": "debug",
        "OPENV_WEBHOOK_TOKEN": WEBHOOK_TOKEN, "OPENV_CLERK_WEBHOOK_SECRET": CLERK_SECRET,
    }  # fmt: skip
    started = Started(told, tmp_path_factory.mktemp("conformance"))
    try:
        gateway, streams = started.gateway(), started.streams()
        await asyncio.gather(gateway.ready(120), streams.ready(120))
        yield Stack(gateway, streams, access_store)
        for one in (gateway, streams):
            assert await one.terminate() == 0, one.words()
    finally:
        started.close()


async def test_schemathesis_finds_nothing(stack: Stack, tmp_path: Path) -> None:
    key = await stack.key("tester", role=Role.ADMIN)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{stack.url}/openapi.json",
        "--checks", CHECKS, "--seed", "1", "--generation-deterministic",
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "4", "--workers", "2",
        "--max-redirects", "0", "--request-timeout", "30", "--exclude-operation-id", "streamEvents",
        "--exclude-operation-id", "runJobSync",  # it waits for as long as it is asked to
        "--suppress-health-check", "all", "--no-color", "--header", f"Authorization: Bearer {key}",
        cwd=tmp_path, env={**os.environ, "COLUMNS": "160"}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(300):
            output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    said = output.decode(errors="replace")
    assert process.returncode == 0, said[-12_000:]
    generated = re.search(r"Test cases:\s+(\d+) generated, (\d+) passed", said)
    assert generated, said[-3_000:]
    assert int(generated[1]) >= 20 * (len(OPERATIONS) - 2)
    assert "Traceback" not in stack.written()
    assert stack.gateway.process.poll() is None


async def confide(stack: Stack) -> list[str]:
    """Send what is secret wherever a client may put it; what must be found nowhere besides the mark."""
    key = await stack.key("ada")
    admin = await stack.key("root", role=Role.ADMIN)
    once = await stack.key("ada", kind=KeyKind.PAGE_LINK)
    told = {"Authorization": f"Bearer {key}"}
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = jwt.encode({"sub": f"user_{MARK}", "iss": "https://x.test"}, private, "RS256", headers={"kid": "k"})
    address = f"{MARK}@mail.test"
    async with stack.client() as http:
        made = await http.post("/api/runpod", json={"prompt": f"a {MARK}", "negative_prompt": MARK}, headers=told)
        assert made.status_code in (200, 202), made.text
        job_id = made.json()["jobId"]
        for body in (b'{"prompt":"%b' % MARK.encode(), {"prompt": MARK, "steps": 1}, {"prompt": MARK * 100}, MARK):
            how: Any = {"content": body} if isinstance(body, bytes) else {"json": body}
            assert (await http.post("/api/runpod", headers=told, **how)).status_code == 400
        await misplace(http, key, admin, once, token)
        nobody = f"http://127.0.0.1:{closed_port()}/{MARK}?{MARK}"
        hooked = await http.post("/api/webhooks", json={"url": nobody, "description": MARK}, headers=told)
        assert hooked.status_code == 201, hooked.text
        secret = hooked.json()["secret"]
        await http.post(f"/api/webhooks/{hooked.json()['id']}/test", headers=told)
        await hear_of_users(http, address)
        for given in (WEBHOOK_TOKEN, MARK):
            called = {"id": job_id, "status": "FAILED", "error": MARK}
            await http.post("/api/runpod/webhook", params={"token": given}, json=called)
        ticket = (await http.post("/api/live/ticket", headers=told)).json()["ticket"]
        await http.request("DELETE", "/api/videos", json={"jobIds": [job_id, MARK]}, headers=told)
        for path in (f"/ws?ticket={ticket}", f"/ws?ticket={MARK}"):
            await http.get(path, headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    async with socket(stack.gateway.address, key, subscribe={}) as client:
        await client.receive()
        await client.send(type="auth", token=MARK)
        await client.connection.send(MARK)
    await garbage(stack, key)
    return [MARK, key[3:], admin[3:], once[3:], ticket, token, token.split(".")[2], secret.removeprefix("whsec_"),
            CLERK_SECRET.removeprefix("whsec_")]  # fmt: skip


async def misplace(http: httpx.AsyncClient, key: str, admin: str, once: str, token: str) -> None:
    """Put what is secret where it does not belong."""
    told = {"Authorization": f"Bearer {key}"}
    for name in ("Idempotency-Key", "X-Request-Id", "Cookie", "Origin", "User-Agent", "Referer", "Last-Event-ID"):
        await http.get("/api/videos", headers={**told, name: f"{MARK} {MARK}"})
    for wrong in (key[:-1] + "x", MARK, token, f"Basic {MARK}"):
        for headers in ({"Authorization": f"Bearer {wrong}"}, {"Cookie": f"__session={wrong}"}):
            assert (await http.get("/api/videos", headers=headers)).status_code == 401
    for path in (f"/{MARK}", f"/api/runpod/{MARK}", f"/api/videos/{MARK}/video", f"/api/voucher/{MARK}",
                 f"/api/videos?before={MARK}&x={MARK}", f"/?token={MARK}", f"/?token={once}",
                 f"/api/live/events?ticket={MARK}", f"/console/{MARK}.js", f"/api/webhooks/{MARK}"):  # fmt: skip
        for method in ("GET", "DELETE", "POST"):
            await http.request(method, path, headers={"Authorization": f"Bearer {admin}"} if "?" not in path else {})
    for who in (admin, key):
        for method in ("POST", "PUT"):
            await http.request(method, "/api/voucher", json={"code": MARK}, headers={"Authorization": f"Bearer {who}"})


async def hear_of_users(http: httpx.AsyncClient, address: str) -> None:
    """Clerk's news, rightly and wrongly signed."""
    person = {"id": "user_ada", "email_addresses": [{"id": "e", "email_address": address}], "first_name": MARK,
              "primary_email_address_id": "e", "updated_at": now_ms(), "created_at": now_ms()}  # fmt: skip
    for data in (person, {"id": MARK}, {"email_addresses": address}):
        body = json.dumps({"type": "user.created", "object": "event", "timestamp": now_ms(), "data": data})
        seconds = now_ms() // 1000
        signature = Webhook(CLERK_SECRET).sign("msg_1", to_datetime(seconds * 1000), body)
        for shown in (signature, f"v1,{MARK}"):
            headers = {"svix-id": "msg_1", "svix-timestamp": str(seconds), "svix-signature": shown}
            await http.post("/api/auth/webhook", content=body, headers=headers)


async def garbage(stack: Stack, key: str) -> None:
    """No HTTP at all, with what is secret in it."""
    where = urlsplit(stack.url)
    for sent in (
        f"GET /{MARK} HTTP/9\r\n\r\n",
        f"{MARK}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {key}\r\n\r\n",
        f"{MARK} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"POST /api/runpod HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n",
        f"GET /ws?ticket={MARK} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {MARK}\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(sent.encode())
        with suppress(ConnectionError):
            async with asyncio.timeout(60):
                await reader.read(1)
        writer.close()


async def test_nothing_that_was_told_in_confidence_is_in_any_log(stack: Stack) -> None:
    secrets = await confide(stack)

    async def seen_to_the_end() -> bool:
        """The streams have gone through all of it once they have answered a later question."""
        async with stack.client(Authorization=f"Bearer {await stack.key('ada')}") as http:
            return (await http.get("/api/usage")).status_code == 200

    await eventually(seen_to_the_end, 60, what="an answer of the ledger")
    written = stack.written()
    assert {"gateway", "streams"} <= {json.loads(line)["part"] for line in written.splitlines() if line.startswith("{")}
    for route in ("/api/runpod/{job_id}", "/api/voucher/{code}", "/api/auth/webhook", "/api/runpod/webhook", "/"):
        assert f'"path": "{route}"' in written  # those requests left their lines
    for secret in secrets:
        assert len(secret) >= len(MARK)
        found = [line[:500] for line in written.splitlines() if secret in line]
        assert found == []
