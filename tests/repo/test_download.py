"""Files from strangers' addresses: bounded, judged at every hop, and nothing left behind where they are no use."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repo.core.addresses import Rules, read_networks
from repo.download import Bounds, Downloaded, NotDownloaded, download
from repo.outgoing import Outgoing
from tests.inference_worker.remote.fake_runpod import FakeRunPod, answering, fake_runpod, lost, silent, slow

HERE = Rules(allow_http=True, networks=read_networks("127.0.0.0/8"))
DATA = b"\0\1\2" * 100_000
BOUNDS = Bounds(bytes_max=len(DATA), silent_s=30, within_s=60)


@pytest.fixture
async def server() -> AsyncIterator[FakeRunPod]:
    async with fake_runpod() as made:
        yield made


async def got(url: str, path: Path, bounds: Bounds = BOUNDS, rules: Rules = HERE) -> Downloaded:
    async with Outgoing(rules) as outgoing:
        return await download(outgoing, rules, url, path, bounds)


async def refused(url: str, path: Path, bounds: Bounds = BOUNDS, rules: Rules = HERE) -> NotDownloaded:
    with pytest.raises(NotDownloaded) as raised:
        await got(url, path, bounds, rules)
    assert not await asyncio.to_thread(path.exists)
    assert "secret" not in str(raised.value)
    return raised.value


async def test_a_file_arrives_whole_through_redirects(server: FakeRunPod, tmp_path: Path) -> None:
    path = tmp_path / "a"
    there = server.video(DATA)
    for status in (301, 302, 307, 308):
        here = server.file("moved", answering(status, headers={"Location": there}))
        assert await got(here, path) == Downloaded(len(DATA), hashlib.sha256(DATA).hexdigest())
        assert path.read_bytes() == DATA
    relative = server.file("near", answering(302, headers={"Location": "/files/a.mp4?x=%2Fa%20b"}))
    assert (await got(relative, path)).bytes == len(DATA)


async def test_a_slow_one_arrives_if_bytes_keep_coming(server: FakeRunPod, tmp_path: Path) -> None:
    gate = asyncio.Event()
    coming = asyncio.create_task(got(server.file("slow", slow(DATA, gate)), tmp_path / "a"))
    await asyncio.sleep(0)
    gate.set()
    assert (await coming).bytes == len(DATA)


async def test_redirects_lead_nowhere_that_is_not_allowed(server: FakeRunPod, tmp_path: Path) -> None:
    for location in (
        "http://169.254.169.254/latest?secret",
        "http://10.0.0.1/x",
        "file:///etc/passwd",
        "http://[::1]/",
    ):
        away = server.file("away", answering(302, headers={"Location": location}))
        assert (await refused(away, tmp_path / "a")).final
    loop = server.file("loop", answering(302, headers={"Location": f"http://127.0.0.1:{server.port}/files/loop"}))
    assert "leads on more than 5 times" in str(await refused(loop, tmp_path / "a"))
    nowhere = server.file("nowhere", answering(302))
    assert (await refused(nowhere, tmp_path / "a")).final


async def test_where_nothing_is_allowed_this_machine_is_not_reached(server: FakeRunPod, tmp_path: Path) -> None:
    url = server.video(DATA) + "?secret"
    assert (await refused(url, tmp_path / "a", rules=Rules())).final
    assert (await refused(url, tmp_path / "a", rules=Rules(allow_http=True))).final
    named = url.replace("127.0.0.1", "localhost")
    assert (await refused(named, tmp_path / "a", rules=Rules(allow_http=True))).final


async def test_sizes_and_times_are_bounded(server: FakeRunPod, tmp_path: Path) -> None:
    smaller = Bounds(bytes_max=len(DATA) - 1)
    assert "larger than" in str(await refused(server.video(DATA), tmp_path / "a", smaller))
    gate = asyncio.Event()
    gate.set()
    unannounced = server.file("chunked", slow(DATA, gate))
    assert (await refused(unannounced, tmp_path / "a", smaller)).final
    halting = server.file("halting", slow(DATA, asyncio.Event()))
    assert "stopped answering" in str(await refused(halting, tmp_path / "a", Bounds(len(DATA), silent_s=0.1)))
    hurried = Bounds(len(DATA), silent_s=30, within_s=0.2)
    assert "within 0.2 s" in str(await refused(server.file("never", silent), tmp_path / "a", hurried))


async def test_what_is_no_file(server: FakeRunPod, tmp_path: Path) -> None:
    for status, gone in ((404, True), (403, True), (500, False), (429, False)):
        failure = await refused(server.file("x", answering(status)), tmp_path / "a")
        assert (failure.final, failure.gone) == (False, gone)
    assert not (await refused(server.file("lost", lost), tmp_path / "a")).final
    page = server.file("page", answering(200, text="<html>", content_type="text/html"))
    assert (await refused(page, tmp_path / "a")).final
    assert not (await refused("http://127.0.0.1:1024/secret", tmp_path / "a")).final
