"""The client's own bucket (``s3Config``): a real S3 server takes the video, and what happens where none does."""

import asyncio
import hashlib
import io
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from inference_worker.core.client_bucket import BadBucket, bucket_of
from inference_worker.delivery import Deliveries, NotDelivered, signed
from inference_worker.files import FileStore, Patience, StorageFailed
from inference_worker.messages import MediaFile
from repo.core.addresses import wrong_with
from repo.memory import MemoryObjectStore
from repo.s3 import S3ObjectStore
from repo.stores import ObjectStores
from schemas.commands import AttemptFailed
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode
from tests.inference_worker.parent_world import order, running, until, write_media
from tests.repo.test_outgoing import LOOPBACK, PUBLIC_ONLY, serving
from tests.servers import closed_port, settings_of

SECRET = "hush/Hush+hush"
CONFIG = {"accessId": "AKIA123", "accessSecret": SECRET, "bucketName": "clips"}
KEY = "u1/inputs/j1/request.json"
QUICK = (0.01, 0.01)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def asking(store: MemoryObjectStore, config: Any) -> RunAttempt:
    """An order whose client gave this ``s3Config``."""
    asked = orjson.dumps({"input": {"positive_prompt": "a"}, "s3Config": config})
    await store.put_bytes(KEY, asked, "application/json")
    one = order()
    return replace(one, request=replace(one.request, input_key=KEY))


def video(directory: Path, size: int = 3_000_000) -> MediaFile:
    path = directory / "video.mp4"
    path.write_bytes(bytes(range(256)) * (size // 256))
    return MediaFile(
        path=path,
        bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        media_type="video/mp4",
    )


async def refusal(
    config: Any, directory: Path, rules: Any = LOOPBACK, *, timeout_s: float = 20.0, size: int = 1024
) -> NotDelivered:
    store = MemoryObjectStore()
    asked = await asking(store, config)
    deliveries = Deliveries(ObjectStores(store), rules, pauses_s=QUICK, timeout_s=timeout_s)
    with pytest.raises(NotDelivered) as refused:
        await deliveries.deliver(asked, video(directory, size))
    assert SECRET not in str(refused.value)
    return refused.value


@pytest.mark.servers
@pytest.mark.parametrize(
    ("path", "key"), [(None, "j1.mp4"), ("done/", "done/j1.mp4"), ("a b+c@d=e/☃ 100%.mp4", "a b+c@d=e/☃ 100%.mp4")]
)
async def test_a_real_bucket_holds_the_video(
    servers: Mapping[str, str], tmp_path: Path, path: str | None, key: str
) -> None:
    bucket = f"client-{uuid.uuid4().hex[:8]}"
    own = MemoryObjectStore()
    asked = await asking(
        own,
        {
            "accessId": servers["S3_ACCESS_KEY_ID"],
            "accessSecret": servers["S3_SECRET_ACCESS_KEY"],
            "bucketName": bucket,
            "endpointUrl": servers["S3_ENDPOINT_URL"],
            "objectPath": path,
        },
    )
    async with S3ObjectStore(settings_of(servers, s3_bucket=bucket)) as client:
        await client.prepare()
        media = write_media(tmp_path)
        store = FileStore(ObjectStores(own), Patience(main_s=20), LOOPBACK)
        output = await store.store(asked, replace(media, video=video(tmp_path)), lambda *_: None)
        assert output.video is not None
        assert output.video.key in own.objects, "and we have it too"
        assert await client.list_keys("") == [key]
        assert await client.read(key) == (tmp_path / "video.mp4").read_bytes()


@pytest.mark.servers
@pytest.mark.parametrize(("changes", "status"), [({"accessSecret": SECRET}, 403), ({"accessId": "AKIANOBODY"}, 403)])
async def test_a_real_server_that_refuses_is_believed_at_once(
    servers: Mapping[str, str], tmp_path: Path, changes: dict[str, str], status: int
) -> None:
    config = {
        "accessId": servers["S3_ACCESS_KEY_ID"],
        "accessSecret": servers["S3_SECRET_ACCESS_KEY"],
        "bucketName": f"nobody-{uuid.uuid4().hex[:8]}",
        "endpointUrl": servers["S3_ENDPOINT_URL"],
    }
    refused = await refusal(config | changes, tmp_path)
    assert (refused.code, refused.again) == (FailureCode.INVALID_INPUT, False)
    assert str(refused) == f"The video was made, but the bucket of s3Config refused it: HTTP {status}."


async def test_a_bucket_that_is_away_for_a_moment_gets_the_whole_file_in_the_end(tmp_path: Path) -> None:
    bodies: list[tuple[str, int, str | None]] = []

    async def third_time(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        bodies.append((request.path, len(body), request.headers.get("x-amz-content-sha256")))
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA123/")
        assert SECRET not in str(request.headers)
        assert "Content-Disposition" not in request.headers
        return web.Response(status=503) if len(bodies) < 3 else web.Response(headers={"ETag": '"abc"'})

    store = MemoryObjectStore()
    made = video(tmp_path, 512_000)
    async with serving(third_time) as port:
        asked = await asking(store, CONFIG | {"endpointUrl": f"http://127.0.0.1:{port}"})
        with structlog.testing.capture_logs() as logged:
            await Deliveries(ObjectStores(store), LOOPBACK, pauses_s=QUICK).deliver(asked, made)
    assert bodies == [("/clips/j1.mp4", made.bytes, made.sha256)] * 3
    assert [line["event"] for line in logged] == ["client_bucket_refuses"] * 2 + ["delivered_to_the_client"]
    assert SECRET not in str(logged)


def answers(status: int, **headers: str) -> tuple[Handler, list[str]]:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        asked.append(request.path)
        return web.Response(status=status, headers=headers, text=f"the key is {SECRET}")

    return handler, asked


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (503, FailureCode.STORAGE_UNAVAILABLE, 3),
        (500, FailureCode.STORAGE_UNAVAILABLE, 3),
        (429, FailureCode.STORAGE_UNAVAILABLE, 3),
        (400, FailureCode.INVALID_INPUT, 1),
        (403, FailureCode.INVALID_INPUT, 1),
        (301, FailureCode.INVALID_INPUT, 1),
        (200, FailureCode.INVALID_INPUT, 1),
    ],
)
async def test_what_a_bucket_answers_decides_whether_another_attempt_helps(
    tmp_path: Path, status: int, code: FailureCode, tries: int
) -> None:
    handler, asked = answers(status, Location="http://127.0.0.1:1/elsewhere")
    async with serving(handler) as port:
        refused = await refusal(CONFIG | {"endpointUrl": f"http://127.0.0.1:{port}"}, tmp_path)
    assert (refused.code, len(asked)) == (code, tries)
    assert "is no S3 server" in str(refused) if status == 200 else str(status) in str(refused)


async def test_where_nobody_answers(tmp_path: Path) -> None:
    nobody = await refusal(CONFIG | {"endpointUrl": f"http://127.0.0.1:{closed_port()}"}, tmp_path)
    assert nobody.code is FailureCode.STORAGE_UNAVAILABLE
    release = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with serving(silent) as port:
        slow = await refusal(CONFIG | {"endpointUrl": f"http://127.0.0.1:{port}"}, tmp_path, timeout_s=0.2)
        release.set()
    assert slow.code is FailureCode.STORAGE_UNAVAILABLE
    assert "no answer within" in str(slow)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "nowhere.invalid"])
async def test_a_private_address_and_a_name_that_is_none_are_told_alike(tmp_path: Path, host: str) -> None:
    handler, asked = answers(200, ETag='"abc"')
    async with serving(handler) as port:
        refused = await refusal(CONFIG | {"endpointUrl": f"http://{host}:{port}"}, tmp_path, PUBLIC_ONLY)
    assert asked == []
    assert (refused.code, refused.again) == (FailureCode.INVALID_INPUT, True)
    assert str(refused).endswith("the host does not lead to a public address.")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            CONFIG | {"endpointUrl": "http://storage.example.org"},
            "the address in its s3Config must begin with https://.",
        ),
        (CONFIG | {"endpointUrl": "https://u:p@storage.example.org"}, "must not carry a user or a password."),
        (CONFIG | {"endpointUrl": "https://storage.example.org:22"}, "must use port 80, 443, or one from 1024 on."),
        (CONFIG | {"endpointUrl": "file:///etc"}, "must begin with https://."),
        (CONFIG, "its s3Config has no valid endpointUrl."),
        (SECRET, "its s3Config must be an object."),
        (None, "its s3Config must be an object."),
    ],
)
async def test_what_leads_nowhere_is_said_without_its_words(tmp_path: Path, config: Any, words: str) -> None:
    refused = await refusal(config, tmp_path, None)
    assert refused.code is FailureCode.INVALID_INPUT
    assert str(refused).endswith(words)


@given(
    endpoint=st.text(max_size=30) | st.from_regex(r"https?://[a-zA-Z0-9.:\[\]@%-]{1,20}/?[ -~]{0,9}", fullmatch=True),
    path=st.text(max_size=20) | st.none(),
)
def test_whatever_a_client_gives_is_refused_or_signed(endpoint: str, path: str | None) -> None:
    """What raised anything else would end one worker after the other."""
    try:
        bucket = bucket_of(CONFIG | {"endpointUrl": endpoint, "objectPath": path}, "j1")
    except BadBucket:
        return
    if wrong_with(bucket.url, LOOPBACK) is None:
        assert "Authorization" in signed(bucket, io.BytesIO(b"video"), "video/mp4")


async def test_a_job_without_a_bucket_of_its_own_asks_nobody(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    deliveries = Deliveries(ObjectStores(store), PUBLIC_ONLY, pauses_s=QUICK)
    await deliveries.deliver(order(), video(tmp_path, 1024))
    await store.put_bytes(KEY, b'{"input": {}}', "application/json")
    one = order()
    await deliveries.deliver(replace(one, request=replace(one.request, input_key=KEY)), video(tmp_path, 1024))


async def test_a_request_that_cannot_be_read(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    asked = await asking(store, CONFIG)
    deliveries = Deliveries(ObjectStores(store), LOOPBACK, pauses_s=QUICK)
    for damage, code in (
        ("away", FailureCode.STORAGE_UNAVAILABLE),
        ("damaged", FailureCode.STORAGE_UNAVAILABLE),
        ("lost", FailureCode.INVALID_INPUT),
    ):
        store.away = damage == "away"
        if damage == "damaged":
            await store.put_bytes(KEY, b"{", "application/json")
        if damage == "lost":
            await store.delete([KEY])
        with pytest.raises(NotDelivered) as refused:
            await deliveries.deliver(asked, video(tmp_path, 1024))
        assert refused.value.code is code, damage


async def test_the_file_store_fails_with_the_code_of_the_refusal(tmp_path: Path) -> None:
    own = MemoryObjectStore()
    store = FileStore(ObjectStores(own), Patience(main_s=20))
    asked = await asking(own, CONFIG | {"endpointUrl": "http://127.0.0.1:9"})
    with pytest.raises(StorageFailed, match="must begin with https") as failed:
        await store.store(asked, write_media(tmp_path), lambda *_: None)
    assert failed.value.code is FailureCode.INVALID_INPUT


async def test_the_attempt_says_so_and_nothing_that_it_says_holds_a_secret(tmp_path: Path) -> None:
    async with running(tmp_path / "work") as world:
        asked = await asking(world.objects, CONFIG | {"endpointUrl": "http://127.0.0.1:9"})
        await world.busy(asked)
        world.child.finish()
        await until(lambda: world.reports()[-1:] == ["failed"], "the attempt's end")
        (failed,) = [one for one in world.said("commands") if isinstance(one, AttemptFailed)]
        assert failed.code is FailureCode.INVALID_INPUT
        assert "s3Config" in failed.message
        for topic in ("commands", "dispatch", "progress"):
            assert SECRET not in str(world.log.records(f"openv.{topic}"))
