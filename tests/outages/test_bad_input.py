"""Bad input over real connections: a clear refusal, nothing of it on a topic, and a gateway that goes on.

``recorded_nothing`` compares the ends of ``openv.commands`` around every test; the last test shows that it would see.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from gateway.identity.keys import hash_of, new_key
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo_access import MongoAccessStore
from repo.mongo_jobs import MongoJobStore
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.api.live import CloseCode
from schemas.lifecycle import State
from schemas.requests import LIMITS, PROMPT_MAX
from schemas.topics import COMMANDS
from tests.gateway.sockets import socket
from tests.gateway.world import job, with_files
from tests.outages.kafka_world import Gateway, User
from tests.streams.streams_process import eventually
from tests.streams.submissions import new_id

# The first test also waits for the servers to start, on a machine that may be busy with other things.
pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

MIB = 1024 * 1024
GOOD = {"prompt": "a corgi surfing"}
ANSWER_S = 60.0
# Larger than what sockets of both sides buffer together: who was not answered before the end could not send it all.
ENDLESS = 64 * MIB


@pytest.fixture(scope="module")
async def gateway(
    servers: Mapping[str, str], topics: list[str], database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    told = {
        **servers,
        "MONGODB_DATABASE": database,
        "OPENV_KEY_CACHE_SECONDS": "0.2",
        "OPENV_SHED_REQUESTS": "10000",
        "OPENV_SOCKET_SUBSCRIBES_PER_MINUTE": "1000",
    }
    one = Gateway(told, tmp_path_factory.mktemp("bad_input") / "gateway.log")
    try:
        await one.ready(120)
        yield one
        assert "Traceback" not in one.log.read_text(), one.words()
        assert await one.terminate() == 0
    finally:
        one.close()


async def user_of(gateway: Gateway, store: MongoAccessStore) -> User:
    name = new_id("u-")
    secret, key = new_key(name, now=now_ms())
    await store.store_api_key(key)
    headers = {"Authorization": f"Bearer {secret}"}
    return User(name, secret, httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=60, trust_env=False))


@pytest.fixture(scope="module")
async def user(gateway: Gateway, access_store: MongoAccessStore) -> AsyncIterator[User]:
    made = await user_of(gateway, access_store)
    async with made.http:
        yield made


@pytest.fixture(autouse=True)
async def recorded_nothing(
    request: pytest.FixtureRequest, gateway: Gateway, kafka_log: KafkaEventLog
) -> AsyncIterator[None]:
    before = await kafka_log.ends(COMMANDS.name)
    yield
    recorded = sum((await kafka_log.ends(COMMANDS.name)).values()) - sum(before.values())
    assert recorded == (1 if request.node.name == LAST else 0)
    assert gateway.process.poll() is None, gateway.words()


def numbers() -> Iterator[tuple[str, Any]]:
    """Every wrong value of every number, as JSON text where Python has no such value."""
    for name, bounds in LIMITS.items():
        wrong = [bounds.least - 1, bounds.most + 1, -1, 0, 10**30, -(10**30), 2**63, 2**64, 1e308, -1e308]
        yield from ((name, value) for value in wrong if not bounds.least <= value <= bounds.most)
        yield from ((name, value) for value in ("31", "", "NaN", True, False, [], [31], {}, {"a": {"b": [{}]}}))
        if name != "cfg":
            yield name, bounds.least + 0.5


def texts() -> Iterator[tuple[str, Any]]:
    for name in ("prompt", "negative_prompt"):
        yield from (
            (name, value) for value in ("x" * (PROMPT_MAX + 1), "a\0b", 7, 1.5, True, False, [], ["a"], {"a": 1})
        )
    yield from (("prompt", value) for value in ("", "  \n\t", "\0", None))
    yield from (
        ("model", value) for value in ("sora", "", "mochi-1 ", "MOCHI-1", "x" * 10_000, "mochi-1\0", 1, True, [])
    )


async def check_fields(user: User, body: Any, *fields: str) -> None:
    """400 with exactly these fields, each with words for a person that quote nothing."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await user.http.post("/api/runpod", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, (content[:100], answer.text)
    assert answer.json()["error"] == "Validation failed"
    details = answer.json()["details"]
    assert sorted(line["field"] for line in details) == sorted(fields), (content[:100], details)
    assert all(set(line) == {"field", "message"} and 0 < len(line["message"]) < 100 for line in details)


@pytest.mark.parametrize("field", [*LIMITS, "prompt", "negative_prompt", "model"])
async def test_every_wrong_value_of_a_field_is_named(user: User, field: str) -> None:
    wrong = [value for name, value in [*numbers(), *texts()] if name == field]
    assert len(wrong) >= 9
    for value in wrong:
        await check_fields(user, {**GOOD, field: value}, field)


async def test_all_wrong_fields_are_named_at_once_under_the_names_of_the_document(user: User) -> None:
    numbers_wrong = dict.fromkeys(LIMITS, -1)
    await check_fields(
        user, {**numbers_wrong, "negative_prompt": 1, "model": "x"}, *LIMITS, "negative_prompt", "model", "prompt"
    )
    await check_fields(
        user,
        {**dict.fromkeys(LIMITS, True), "positivePrompt": "", "negativePrompt": []},
        *LIMITS,
        "prompt",
        "negative_prompt",
    )
    await check_fields(user, {"positive_prompt": 1, "numFrames": 128}, "prompt", "num_frames")
    await check_fields(user, {"prompt": None, "width": None, "seed": -1}, "prompt", "seed")
    await check_fields(user, b'{"prompt":"a","width":848,"width":1,"steps":99,"steps":[]}', "width", "steps")
    await check_fields(user, b'{"prompt":"a","seed":1e300,"cfg":1e300}', "seed", "cfg")
    for body in ([], "text", 7, None, True, [GOOD]):
        await check_fields(user, body, "body")


NO_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "words": b"not json",
    "cut off": b'{"prompt":"a"',
    "two": b'{"prompt":"a"}{"prompt":"b"}',
    "single quotes": b"{'prompt':'a'}",
    "a trailing comma": b'{"prompt":"a",}',
    "NaN": b'{"prompt":"a","cfg":NaN}',
    "Infinity": b'{"prompt":"a","cfg":-Infinity}',
    "out of range": b'{"prompt":"a","cfg":1e999}',
    "digits without end": b'{"prompt":"a","seed":' + b"9" * 5_000 + b"}",
    "a lone surrogate": b'{"prompt":"\\ud800"}',
    "half a pair": b'{"prompt":"\\udc00\\ud800"}',
    "a bare NUL": b'{"prompt":"a\0b"}',
    "no UTF-8": b'{"prompt":"\xff"}',
    "an encoded surrogate": b'{"prompt":"\xed\xa0\x80"}',
    "an overlong form": b'{"prompt":"\xc0\xaf"}',
    "UTF-16": '{"prompt":"a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"prompt":"a"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a deep member": b'{"prompt":"a","x":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
}


@pytest.mark.parametrize("name", NO_JSON)
async def test_what_is_no_json_is_said_to_be_none(user: User, name: str) -> None:
    for headers in ({"Content-Type": "application/json"}, {}):
        answer = await user.http.post("/api/runpod", content=NO_JSON[name], headers=headers)
        assert (answer.status_code, answer.json()) == (400, {"error": "The body is not JSON."})
    answer = await user.http.request("DELETE", "/api/videos", content=NO_JSON[name])
    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid request body"})


async def test_bodies_of_other_types_are_no_json_whatever_they_hold(user: User) -> None:
    """JSON is read whatever its type is called, for there are clients that call it something else."""
    for other in (
        {"data": {"prompt": "a"}},
        {"files": {"prompt": b"a corgi"}},
        {"content": b"<prompt>a</prompt>", "headers": {"Content-Type": "application/xml"}},
        {"content": b"\x1f\x8b\x08\0\0\0\0\0", "headers": {"Content-Encoding": "gzip"}},
    ):
        answer = await user.http.post("/api/runpod", **other)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()) == (400, {"error": "The body is not JSON."})


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "ü"])
async def test_idempotency_keys_that_are_none(user: User, key: str) -> None:
    answer = await user.http.post("/api/runpod", json=GOOD, headers={"Idempotency-Key": key.encode()})  # type: ignore[dict-item]
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"jobIds": None}, {"jobIds": "x"}, {"jobIds": [1]}, {"jobIds": [None]}, {"jobIds": [["x"]]},
     {"jobIds": ["x"] * 1_001}, {"jobids": ["x"]}],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
async def test_deletions_of_nothing_that_can_be_read(user: User, body: Any) -> None:
    answer = await user.http.request("DELETE", "/api/videos", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("Invalid jobIds", "Invalid request body")


@pytest.mark.parametrize("job_ids", [[], [""], ["x" * 5_000], ["$where", "\0", "../x", "a b"], ["x"] * 1_000], ids=len)
async def test_deletions_of_what_is_nobodys_do_nothing_as_openvs(user: User, job_ids: list[str]) -> None:
    answer = await user.http.request("DELETE", "/api/videos", json={"jobIds": job_ids})
    assert (answer.status_code, answer.json()) == (200, {"success": True})


@asynccontextmanager
async def connection(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def status_of(reader: asyncio.StreamReader) -> int:
    """The status of the answer; 0 where the connection ends without one."""
    async with asyncio.timeout(ANSWER_S):
        try:
            line = await reader.readline()
        except ConnectionError:
            return 0
    return int(line.split()[1]) if line else 0


def head(user: User, *lines: str) -> bytes:
    return "\r\n".join(
        ["POST /api/runpod HTTP/1.1", "Host: x", f"Authorization: Bearer {user.key}", *lines, "", ""]
    ).encode()


async def test_a_body_that_says_it_is_too_large_is_refused_unread(gateway: Gateway, user: User) -> None:
    for length in (MIB + 1, 10**12, 10**18):
        async with connection(gateway) as (reader, writer):
            writer.write(head(user, f"Content-Length: {length}"))  # and nothing of the body
            assert await status_of(reader) == 413
    answer = await user.http.post("/api/runpod", content=b" " * (MIB + 1))
    assert (answer.status_code, answer.json()["limitBytes"]) == (413, MIB)
    answer = await user.http.request("DELETE", "/api/videos", content=b" " * (MIB + 1))
    assert answer.status_code == 413


async def test_a_body_without_an_end_is_refused_at_the_limit(gateway: Gateway, user: User) -> None:
    sent = 0
    async with connection(gateway) as (reader, writer):
        writer.write(head(user, "Transfer-Encoding: chunked"))
        answered = asyncio.create_task(status_of(reader))
        with suppress(ConnectionError):
            while not answered.done() and sent < ENDLESS:
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
                await writer.drain()
                await asyncio.sleep(0)
        assert await answered == 413
    assert MIB <= sent < ENDLESS


async def test_a_body_longer_than_it_says_is_cut_where_it_said(gateway: Gateway, user: User) -> None:
    async with connection(gateway) as (reader, writer):
        writer.write(head(user, "Content-Length: 10") + b" " * (2 * MIB))
        assert await status_of(reader) == 400


async def test_a_body_that_never_comes_whole_is_nothing(gateway: Gateway, user: User) -> None:
    content = json.dumps(GOOD).encode()
    async with connection(gateway) as (_, writer):
        writer.write(head(user, f"Content-Length: {len(content)}") + content[:-1])
        await writer.drain()
    assert (await user.http.get("/api/videos")).json() == []


GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "no request line": b"\r\n \r\n: :\r\n\r\n",
    "an unfinished version": b"GET / HTTP/9\r\n\r\n",
    "an old version": b"GET /api/videos\r\n\r\n",
    "no host": b"POST /api/runpod HTTP/1.1\r\n\r\n",
    "a space in the address": b"GET /api/ videos HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad header": b"GET /api/videos HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
    "a NUL in a header": b"GET /api/videos HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
    "large headers": b"GET /api/videos HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET /api/videos HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 50_000 + b"\r\n",
    "a long address": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a negative length": b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length of words": b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "two lengths": b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "an unknown coding": b"POST /api/runpod HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: cow\r\n\r\n",
    "a bad upgrade": b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an address of bytes": b"GET /api/runpod/%00%ff%fe/../x HTTP/1.1\r\nHost: x\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
async def test_what_is_no_request_is_refused_and_the_process_lives(gateway: Gateway, user: User, name: str) -> None:
    async with connection(gateway) as (reader, writer):
        writer.write(GARBAGE[name])
        status = await status_of(reader)
    assert 400 <= status < 500 or (status == 0 and name in ("large headers", "many headers", "a long address")), status
    assert (await user.http.get("/healthz")).status_code == 200


async def test_chunks_that_are_none(gateway: Gateway, user: User) -> None:
    for chunks in (b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffffffff\r\n"):
        async with connection(gateway) as (reader, writer):
            writer.write(head(user, "Transfer-Encoding: chunked") + chunks)
            writer.write_eof()
            assert 400 <= await status_of(reader) < 500


ROUTES = [
    ("POST", "/api/runpod"), ("GET", "/api/runpod/x"), ("POST", "/api/runpod/x/cancel"),
    ("POST", "/api/runpod/x/retry"), ("GET", "/api/videos"), ("DELETE", "/api/videos"),
    ("GET", "/api/videos/x/video"), ("GET", "/api/usage"),
]  # fmt: skip


async def test_without_a_good_key_nothing_is_told(gateway: Gateway, user: User, access_store: MongoAccessStore) -> None:
    revoked, stored = new_key(user.user_id, now=now_ms())
    await access_store.store_api_key(replace(stored, revoked_at=now_ms()))
    expired, stored = new_key(user.user_id, now=now_ms(), expires_at=now_ms() - 1)
    await access_store.store_api_key(stored)
    one_time, stored = new_key(user.user_id, now=now_ms(), kind=KeyKind.PAGE_LINK)
    await access_store.store_api_key(stored)
    keys = [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        f"Bearer {new_key('x', now=0)[0]}",
        f"Bearer {hash_of(user.key)}",
    ]
    others = (revoked, expired, one_time, user.key[:-1], f"{user.key}a", f"{user.key} {user.key}")
    keys += [f"Bearer {one}" for one in others]
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
        for method, path in ROUTES:
            for key in keys:
                headers = {"Authorization": key} if key is not None else {}
                answer = await http.request(method, path, headers=headers, content=b"broken")
                member = "error" if path == "/api/videos" else "message"
                assert (answer.status_code, list(answer.json())) == (401, [member]), (method, path, key)
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_that_is_revoked_is_good_for_nothing_soon_after(
    gateway: Gateway, access_store: MongoAccessStore
) -> None:
    user = await user_of(gateway, access_store)
    async with user.http as http:
        assert (await http.get("/api/videos")).status_code == 200
        key = await access_store.api_key(hash_of(user.key))
        assert key is not None
        await access_store.store_api_key(replace(key, revoked_at=now_ms()))

        async def refused() -> bool:
            return (await http.post("/api/runpod", content=b"broken")).status_code == 401

        await eventually(refused, 60, what="the revoked key refused")
    restricted, stored = new_key("guest", now=now_ms(), role=Role.RESTRICTED)
    await access_store.store_api_key(stored)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
        answer = await http.post("/api/runpod", json=GOOD, headers={"Authorization": f"Bearer {restricted}"})
    assert answer.status_code == 403


async def test_another_users_job_is_as_none_at_all(gateway: Gateway, user: User, job_store: MongoJobStore) -> None:
    theirs = [
        job(new_id(), new_id("u-"), state, at=now_ms()) for state in (State.QUEUED, State.FAILED, State.CANCELLED)
    ]
    theirs.append(with_files(job(new_id(), new_id("u-"), at=now_ms())))
    for one in theirs:
        assert await job_store.store_job(one, 0)
    none = new_id()
    for job_id in (*(one.job_id for one in theirs), none, "x", "%00", "..%2f..", "%ff%fe", "a" * 5_000, "{}", "$where"):
        for method, path in (
            ("GET", f"/api/runpod/{job_id}"),
            ("POST", f"/api/runpod/{job_id}/cancel"),
            ("POST", f"/api/runpod/{job_id}/retry"),
            *(("GET", f"/api/videos/{job_id}/{kind}") for kind in ("video", "poster", "thumbnail")),
        ):
            answer = await user.http.request(method, path)
            assert (answer.status_code, list(answer.json())) == (404, ["error"]), (method, path, answer.text)
    deleted = await user.http.request("DELETE", "/api/videos", json={"jobIds": [one.job_id for one in theirs]})
    assert deleted.json() == (await user.http.request("DELETE", "/api/videos", json={"jobIds": [none]})).json()
    for one in theirs:
        assert await job_store.job(one.job_id) == one
        async with socket(gateway.address, user.key, subscribe={"jobId": one.job_id}) as client:
            assert (await client.receive())["jobs"] == []
    assert (await user.http.get("/api/videos")).json() == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=", "limit=1e2", "limit=" + "9" * 5_000, "deleted=1",
     "deleted=", "before=x", "before=1.x", "before=", "updatedSince=x", "updatedSince=-1", "format=xml",
     "updatedSince=NaN", "updatedSince=" + "9" * 5_000, "updatedSince=2026-13-01", "status=unknown", "status=deleted",
     "updatedSince=%00", "limit=%F0%9F%98%80", "limit=%ff"],
)  # fmt: skip
async def test_queries_that_can_not_be_read(user: User, query: str) -> None:
    answer = await user.http.get(f"/api/videos?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"Invalid {query.partition('=')[0]}")


async def test_unknown_addresses_and_methods(user: User) -> None:
    for path in (
        "/api",
        "/api/",
        "/api/nothing",
        "/api/runpod/x/y",
        "/api/videos/x/sound",
        "/console/../app.py",
        "/%00",
    ):
        answer = await user.http.get(path)
        assert (answer.status_code, list(answer.json())) == (404, ["error"]), path
    for method, path in (
        ("GET", "/api/runpod"), ("PUT", "/api/runpod"), ("DELETE", "/api/runpod/x"), ("GET", "/api/runpod/x/cancel"),
        ("POST", "/api/videos"), ("PATCH", "/api/videos"), ("POST", "/healthz"), ("BREW", "/api/videos"),
    ):  # fmt: skip
        answer = await user.http.request(method, path, json=GOOD)
        assert (answer.status_code, list(answer.json())) == (405, ["error"]), (method, path)
        assert answer.headers["allow"]


FRAMES = ["", "x", "[]", "null", "{}", '{"type":1}', '{"type":"what"}', '{"type":"subscribe","position":7}',
          '{"type":"subscribe","jobId":[]}', "[" * 10_000, '{"type":"ping"', "\0", "\ud7ff", b"\xff\xfe"]  # fmt: skip


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: ascii(frame)[:40])
async def test_frames_that_can_not_be_read(gateway: Gateway, user: User, frame: str | bytes) -> None:
    async with socket(gateway.address) as stranger:
        await stranger.connection.send(frame)
        assert await stranger.closed() == CloseCode.UNAUTHORIZED
    async with socket(gateway.address, user.key) as client:
        for _ in range(4):
            await client.connection.send(frame)
            assert (await client.receive())["type"] == "error"
        await client.send(type="ping")
        assert (await client.receive())["type"] == "pong"
        await client.connection.send(frame)
        assert await client.closed() == CloseCode.PROTOCOL


async def test_a_frame_that_is_too_large_ends_its_socket_alone(gateway: Gateway, user: User) -> None:
    async with socket(gateway.address, user.key) as large, socket(gateway.address, user.key) as other:
        with suppress(ConnectionClosed):  # the gateway need not wait for all of it
            await large.connection.send(json.dumps({"type": "subscribe", "position": "x" * MIB}))
        assert await large.closed() == 1009
        await other.send(type="ping")
        assert (await other.receive())["type"] == "pong"


async def test_what_is_right_is_recorded_once(user: User) -> None:
    """Without it, ``recorded_nothing`` would prove nothing. No ledger runs here, so the decision is to come."""
    answer = await user.http.post("/api/runpod", json={**GOOD, "unheard of": [{}], "width": None, "steps": 10.0})
    assert answer.status_code == 202, answer.text


LAST = test_what_is_right_is_recorded_once.__name__
