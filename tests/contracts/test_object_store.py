"""What ``ObjectStore`` promises, held against the memory twin and against S3."""

import asyncio
import hashlib
import time
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from repo.clock import now_ms
from repo.core.object_keys import file_key, user_prefix
from repo.memory import MemoryObjectStore
from repo.ports import ObjectStore, Unavailable
from repo.s3 import ONE_PART_MAX, S3ObjectStore, open_stores
from repo.settings import FallbackSettings, ServerSettings
from repo.stores import FALLBACK
from tests.servers import Wire, closed_port


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.servers)])
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryObjectStore()
    found: S3ObjectStore = request.getfixturevalue("object_store")
    return found


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4()}/"


@pytest.mark.parametrize("data", [b"", b"short", bytes(range(256)) * 8000], ids=["empty", "short", "2 MB"])
async def test_bytes_come_back_as_they_were(objects: ObjectStore, prefix: str, data: bytes) -> None:
    stored = await objects.put_bytes(f"{prefix}a", data, "image/webp")
    assert (stored.key, stored.bytes, stored.media_type) == (f"{prefix}a", len(data), "image/webp")
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert await objects.read(f"{prefix}a") == data


@pytest.mark.parametrize("size", [0, 1000, ONE_PART_MAX, ONE_PART_MAX + 1], ids=["empty", "small", "edge", "parts"])
async def test_a_file_comes_back_as_it_was(objects: ObjectStore, prefix: str, tmp_path: Path, size: int) -> None:
    path = tmp_path / "video.mp4"
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    path.write_bytes(data)
    stored = await objects.put_file(f"{prefix}video.mp4", path, "video/mp4")
    assert (stored.bytes, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert await objects.read(f"{prefix}video.mp4") == data


async def test_a_file_that_is_not_there_is_the_callers_error(objects: ObjectStore, prefix: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await objects.put_file(f"{prefix}a", tmp_path / "missing", "video/mp4")
    assert await objects.list_keys(prefix) == []


async def test_what_is_not_there_is_none(objects: ObjectStore, prefix: str) -> None:
    assert await objects.read(f"{prefix}missing") is None
    assert await objects.list_keys(prefix) == []


async def test_an_object_is_replaced_whole(objects: ObjectStore, prefix: str) -> None:
    await objects.put_bytes(f"{prefix}a", b"the longer one", "text/plain")
    await objects.put_bytes(f"{prefix}a", b"short", "text/plain")
    assert await objects.read(f"{prefix}a") == b"short"


async def test_lists_are_complete_in_order_and_stay_in_their_folder(objects: ObjectStore, prefix: str) -> None:
    names = ["a", "a/b", "b", "B", "ä", "z z", "z%20z", "z+z", "☃", "q?x=1&y", "#1", "🎬"]
    for name in names:
        await objects.put_bytes(f"{prefix}in/{name}", b"x", "text/plain")
    await objects.put_bytes(f"{prefix}in-another", b"x", "text/plain")
    assert await objects.list_keys(f"{prefix}in/") == sorted(f"{prefix}in/{name}" for name in names)
    for name in names:
        assert await objects.read(f"{prefix}in/{name}") == b"x"


async def test_more_than_a_page_is_listed_and_deleted(objects: ObjectStore, prefix: str) -> None:
    keys = [f"{prefix}{number:04}" for number in range(1005)]
    gate = asyncio.Semaphore(16)

    async def put(key: str) -> None:
        async with gate:
            await objects.put_bytes(key, b"", "text/plain")

    await asyncio.gather(*(put(key) for key in keys))
    assert await objects.list_keys(prefix) == keys
    await objects.delete(keys)
    assert await objects.list_keys(prefix) == []


async def test_deleting_takes_what_it_is_told_and_no_more(objects: ObjectStore, prefix: str) -> None:
    for name in ("a", "ab", "a b&<c>"):
        await objects.put_bytes(f"{prefix}{name}", b"x", "text/plain")
    await objects.delete([f"{prefix}a", f"{prefix}a", f"{prefix}never was", f"{prefix}a b&<c>"])
    assert await objects.list_keys(prefix) == [f"{prefix}ab"]
    assert await objects.read(f"{prefix}a") is None
    await objects.delete([])


@pytest.mark.parametrize("user_id", ["user_1", "a|b@c.d", "../..", "ключ 🎬", "50%/x"])
async def test_keys_of_any_user_work(objects: ObjectStore, user_id: str) -> None:
    job_id = str(uuid.uuid4())
    key = file_key(user_id, job_id, 1, "worker/1 ☃", "s/1", "video")
    await objects.put_bytes(key, b"x", "video/mp4")
    assert await objects.read(key) == b"x"
    assert key in await objects.list_keys(user_prefix(user_id))


async def test_a_signed_url_names_the_file(objects: ObjectStore, prefix: str) -> None:
    url = await objects.signed_url(f"{prefix}a", filename='säule "1"\r\nX: y;.mp4')
    (disposition,) = parse_qs(urlsplit(url).query)["response-content-disposition"]
    assert disposition == (
        "attachment; filename=\"s_ule _1_X: y_.mp4\"; filename*=UTF-8''s%C3%A4ule%20%221%22X%3A%20y%3B.mp4"
    )


async def test_ping_is_content(objects: ObjectStore) -> None:
    await objects.ping()


async def test_preparing_twice_is_preparing_once(objects: ObjectStore, prefix: str) -> None:
    await objects.put_bytes(f"{prefix}a", b"x", "text/plain")
    await asyncio.gather(objects.prepare(), objects.prepare())
    assert await objects.read(f"{prefix}a") == b"x"


async def test_memory_fails_when_told_to(tmp_path: Path) -> None:
    objects = MemoryObjectStore()
    objects.away = True
    for call in (objects.put_bytes("a", b"", "t"), objects.read("a"), objects.list_keys(""), objects.delete(["a"])):
        with pytest.raises(Unavailable, match="s3"):
            await call
    objects.away = False
    assert await objects.read("a") is None


@pytest.mark.servers
async def test_anyone_may_follow_a_signed_url_until_it_expires(object_store: S3ObjectStore, prefix: str) -> None:
    await object_store.put_bytes(f"{prefix}a b☃", b"0123456789", "video/mp4")
    url = await object_store.signed_url(f"{prefix}a b☃", filename="my.mp4")
    async with httpx.AsyncClient(trust_env=False) as browser:
        whole = await browser.get(url)
        part = await browser.get(url, headers={"Range": "bytes=2-4"})
        unsigned = await browser.get(url.split("?")[0])
        other = await browser.get(url.replace("a%20b", "other"))
        short = await object_store.signed_url(f"{prefix}a b☃", expires_s=1)
        deadline = time.monotonic() + 30
        while (await browser.get(short)).status_code != 403:
            assert time.monotonic() < deadline, "the URL never expired"
            await asyncio.sleep(0.1)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, b"0123456789", "video/mp4")
    assert whole.headers["content-disposition"].startswith('attachment; filename="my.mp4"')
    assert (part.status_code, part.content) == (206, b"234")
    assert {unsigned.status_code, other.status_code} == {403}


@pytest.mark.servers
async def test_signed_urls_name_the_public_endpoint(settings: ServerSettings) -> None:
    public = settings.model_copy(update={"s3_public_endpoint_url": "https://files.example.org"})
    async with S3ObjectStore(public) as objects:
        url = await objects.signed_url("user/videos/a.mp4")
    assert url.startswith(f"https://files.example.org/{settings.s3_bucket}/user/videos/a.mp4?")


@pytest.mark.servers
async def test_the_bucket_is_made_where_it_is_missing(settings: ServerSettings) -> None:
    fresh = settings.model_copy(update={"s3_bucket": f"test-{uuid.uuid4()}"})
    async with S3ObjectStore(fresh) as objects:
        with pytest.raises(Unavailable, match="bucket"):
            await objects.ping()
        with pytest.raises(Unavailable, match="bucket"):
            await objects.read("a")
        await asyncio.gather(objects.prepare(), objects.prepare())
        await objects.prepare()
        await objects.ping()


@pytest.mark.servers
async def test_wrong_credentials_are_said(settings: ServerSettings) -> None:
    wrong = settings.model_copy(update={"s3_access_key_id": "nobody"})
    async with S3ObjectStore(wrong) as objects:
        with pytest.raises(Unavailable, match="refuses"):
            await objects.put_bytes("a", b"", "text/plain")


@pytest.mark.servers
async def test_an_absent_store_is_said_in_bounded_time(settings: ServerSettings) -> None:
    away = settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{closed_port()}"})
    async with asyncio.timeout(30), S3ObjectStore(away) as objects:
        for call in (objects.put_bytes("a", b"x", "t"), objects.read("a"), objects.list_keys(""), objects.ping()):
            with pytest.raises(Unavailable, match="s3"):
                await call


@pytest.mark.servers
async def test_the_store_works_again_when_the_server_does(settings: ServerSettings, prefix: str) -> None:
    target = urlsplit(settings.s3_endpoint_url)
    async with asyncio.timeout(60), Wire(target.hostname or "", target.port or 0) as wire:
        relayed = settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{wire.port}"})
        async with S3ObjectStore(relayed) as objects:
            await objects.put_bytes(f"{prefix}a", b"first", "text/plain")
            await wire.cut()
            with pytest.raises(Unavailable):
                await objects.put_bytes(f"{prefix}a", b"second", "text/plain")
            await wire.mend()
            assert await objects.read(f"{prefix}a") == b"first"


@pytest.mark.servers
async def test_an_upload_that_breaks_off_leaves_no_object(
    settings: ServerSettings, prefix: str, tmp_path: Path, object_store: S3ObjectStore
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x" * (ONE_PART_MAX + 1))
    target = urlsplit(settings.s3_endpoint_url)
    async with asyncio.timeout(60), Wire(target.hostname or "", target.port or 0) as wire:
        relayed = settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{wire.port}"})
        async with S3ObjectStore(relayed) as objects:
            await objects.ping()
            wire.answers = False
            with pytest.raises(Unavailable):
                await objects.put_file(f"{prefix}a", path, "video/mp4")
    assert await object_store.list_keys(prefix) == []


@pytest.mark.servers
async def test_a_server_that_says_yes_to_everything_is_not_believed(settings: ServerSettings, tmp_path: Path) -> None:
    """A proxy's page, a wrong port: a file would be gone, and deleted files would stay."""
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x" * (ONE_PART_MAX + 1))

    async def agree(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(65536):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(agree, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        elsewhere = settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{port}"})
        async with asyncio.timeout(60), S3ObjectStore(elsewhere) as objects:
            for call in (objects.put_bytes("a", b"x", "t"), objects.put_file("a", path, "t"), objects.list_keys("")):
                with pytest.raises(Unavailable, match="no S3 server"):
                    await call


@pytest.mark.servers
async def test_the_stores_of_the_environment(settings: ServerSettings, prefix: str) -> None:
    second = FallbackSettings(
        endpoint_url=settings.s3_endpoint_url,
        public_endpoint_url="https://second.example.org",
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        bucket=f"test-{uuid.uuid4()}",
    )
    async with open_stores(settings, second) as stores:
        assert [name for name, _ in stores.each()] == [None, FALLBACK]
        main, fallback = stores.named(None), stores.named(FALLBACK)
        assert main
        assert fallback
        assert stores.named("elsewhere") is None
        await main.prepare()
        with pytest.raises(Unavailable, match="bucket") as raised:
            await fallback.ping()
        assert raised.value.server == "s3_fallback"
        await fallback.prepare()
        await fallback.put_bytes(f"{prefix}a", b"x", "text/plain")
        assert await main.read(f"{prefix}a") is None
        assert (await fallback.signed_url("a")).startswith(f"https://second.example.org/{second.bucket}/a?")
    async with open_stores(settings, FallbackSettings(endpoint_url=None)) as stores:
        assert [name for name, _ in stores.each()] == [None]
        assert stores.named(FALLBACK) is None


async def test_a_walk_meets_every_object_once(objects: ObjectStore, prefix: str) -> None:
    begun = now_ms()
    keys = [f"{prefix}{name}" for name in ("a", "b/c", "b/d", "z", "é")]
    for key in reversed(keys):
        await objects.put_bytes(key, b"four", "text/plain")
    met = []
    after = prefix
    while page := await objects.list_after(after, 2):
        assert len(page) <= 2
        met += [one for one in page if one.key.startswith(prefix)]
        if len(page) < 2 or not page[-1].key.startswith(prefix):
            break
        after = page[-1].key
    assert [one.key for one in met] == keys
    assert {one.bytes for one in met} == {4}
    assert all(abs(one.modified_at - begun) < 120_000 for one in met)
