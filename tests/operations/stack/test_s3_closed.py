"""SeaweedFS is several servers; whoever has no key gets nothing from any of them."""

import json
from pathlib import Path

import httpx
import pytest

from operations.stack.s3 import PORTS
from operations.stack.servers import EmbeddedServers
from repo.s3 import S3ObjectStore
from tests.servers import settings_of

pytestmark = pytest.mark.servers

KEY = "alice/videos/one.mp4"
# What its filer, master and volume server answer to anybody by default, and what any page may ask of them.
ASKED = (
    ("GET", "/buckets/openv/"),
    ("GET", f"/buckets/openv/{KEY}"),
    ("DELETE", f"/buckets/openv/{KEY}"),
    ("POST", "/buckets/openv/evil.txt"),
    ("GET", "/col/delete?collection=openv"),
    ("GET", "/dir/assign"),
    ("GET", "/vol/vacuum"),
    ("PUT", "/1,01637037d6"),
    ("GET", "/1,01637037d6"),
    ("GET", f"/openv/{KEY}"),
)


async def test_only_s3_answers_and_only_to_its_keys(tmp_path: Path) -> None:
    async with EmbeddedServers(tmp_path / "data") as environment:
        settings = settings_of(environment)
        async with S3ObjectStore(settings) as objects, httpx.AsyncClient(trust_env=False) as stranger:
            await objects.put_bytes(KEY, b"a video", "video/mp4")
            ports = json.loads((tmp_path / "data" / "ports.json").read_text())["s3"]
            open_ones = {name: port for name, port in ports.items() if not name.endswith(".grpc")}
            assert open_ones.keys() == {name for name in PORTS if not name.endswith(".grpc")}
            for name, port in open_ones.items():
                for method, path in ASKED:
                    files = {"file": b"evil"} if method == "POST" else None
                    answer = await stranger.request(method, f"http://127.0.0.1:{port}{path}", files=files)
                    assert answer.status_code >= 400, (name, method, path, answer.text)
                    assert "access-control-allow-origin" not in answer.headers, (name, method, path)
            assert await objects.list_keys("") == [KEY]
            assert await objects.read(KEY) == b"a video"
