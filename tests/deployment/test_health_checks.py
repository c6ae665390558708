"""The compose file's commands and health checks, run for real: our parts, SeaweedFS and Kafka as it configures them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from operations.stack.jars import ensure_jars, program
from operations.stack.s3 import find_weed
from repo import notify
from tests.deployment.compose import SECRETS, environment, filled_in
from tests.gateway.test_main import process as gateway_process
from tests.servers import closed_port
from tests.streams.streams_process import StreamsProcess, streams_running

pytestmark = pytest.mark.servers

COMPOSE = filled_in()
SERVICES = COMPOSE["services"]
WITHIN_S = 60.0


def run(command: Sequence[str]) -> int:
    """The exit code of a health check here; ``python`` is ours."""
    argv = [sys.executable if word == "python" else word for word in command]
    return subprocess.run(argv, capture_output=True, check=False, timeout=WITHIN_S).returncode


async def healthy(command: Sequence[str]) -> bool:
    """Whether it exits with 0 in time."""
    deadline = time.monotonic() + WITHIN_S
    while await asyncio.to_thread(run, command) != 0:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.2)
    return True


def checked(name: str, **replaced: str) -> list[str]:
    """A service's health check with addresses and paths of this machine in it."""
    _, *words = SERVICES[name]["healthcheck"]["test"]
    for old, new in replaced.items():
        assert any(_OLD[old] in word for word in words), f"{name} no longer asks {_OLD[old]}"
        words = [word.replace(_OLD[old], new) for word in words]
    return words


_OLD = {"gateway": "127.0.0.1:8000", "s3": "127.0.0.1:8333", "status": "/run/openv/status"}


async def test_the_gateways_check_asks_what_a_gateway_answers(servers: dict[str, str], topics: list[str]) -> None:
    port = closed_port()
    command = checked("gateway", gateway=f"127.0.0.1:{port}")
    assert run(command) != 0, "nobody is there yet"
    async with gateway_process(servers, host="127.0.0.1", port=port):
        assert await healthy(command)


async def test_a_part_that_nobody_asks_writes_down_that_it_is_ready(
    servers: dict[str, str], topics: list[str], database: str, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    command = checked("streams", status=str(status))
    assert command == checked("worker", status=str(status))
    assert run(command) != 0
    told = {**servers, "MONGODB_DATABASE": database, notify.STATUS_FILE_VARIABLE: str(status)}
    async with streams_running(told, tmp_path / "streams.log"):
        assert await healthy(command)


async def test_a_part_that_still_waits_is_not_ready(servers: dict[str, str], tmp_path: Path) -> None:
    status = tmp_path / "status"
    absent = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port()}", notify.STATUS_FILE_VARIABLE: str(status)}
    waiting = StreamsProcess({**servers, **absent}, tmp_path / "streams.log")
    try:
        await waiting.says("")
        assert await asyncio.to_thread(run, ["grep", "-q", "STATUS=", str(status)]) == 0
        assert run(checked("streams", status=str(status))) != 0
    finally:
        waiting.close()


async def test_the_s3_server_runs_as_configured_and_knows_only_our_key(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    config = tmp_path / "s3.json"
    config.write_text(COMPOSE["configs"]["s3"]["content"])
    (known,) = json.loads(config.read_text())["identities"]
    assert known["credentials"][0]["secretKey"] == SECRETS["S3_SECRET_ACCESS_KEY"]
    assert known["credentials"][0]["accessKey"] == environment(SERVICES["gateway"])["S3_ACCESS_KEY_ID"]
    port = closed_port()
    here = {
        "-dir=/data": f"-dir={tmp_path / 'data'}",
        "-ip=s3": "-ip=127.0.0.1",
        "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1",
        "-s3.port=8333": f"-s3.port={port}",
        "-s3.config=/etc/seaweedfs/openv.json": f"-s3.config={config}",
    }
    flags = SERVICES["s3"]["command"]
    assert here.keys() <= set(flags)
    # The image's other servers listen on ports of their own; here those may be taken.
    others = {f"-{name}={closed_port()}" for name in ("master.port", "volume.port", "filer.port")}
    grpc = {f"-{name}.port.grpc={closed_port()}" for name in ("master", "volume", "filer", "s3")}
    argv = [find_weed(), *(here.get(flag, flag) for flag in flags), *others, *grpc]
    argv += [f"-s3.localSocket={tmp_path / 's3.sock'}", f"-filer.localSocket={tmp_path / 'filer.sock'}"]
    with (tmp_path / "weed.log").open("wb") as log:
        weed = await asyncio.create_subprocess_exec(*argv, cwd=tmp_path, stdout=log, stderr=log)
    try:
        command = checked("s3", s3=f"127.0.0.1:{port}")
        async with httpx.AsyncClient(trust_env=False, base_url=command[-1].rsplit("/", 1)[0]) as http:
            assert await _answers(http, "/" + command[-1].rsplit("/", 1)[1]), (tmp_path / "weed.log").read_text()
            assert (await http.get("/openv")).status_code == 403, "a stranger without a key"
    finally:
        weed.kill()  # SIGTERM: it takes 25 s to say good-bye to itself
        await weed.wait()


async def _answers(http: httpx.AsyncClient, path: str) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        try:
            if (await http.get(path)).status_code == 200:
                return True
        except httpx.TransportError:
            await asyncio.sleep(0.2)
    return False


def kafka_properties() -> dict[str, str]:
    """What the image makes of its variables: capitals and underscores become lower case and dots."""
    told = environment(SERVICES["kafka"])
    return {name[6:].lower().replace("_", "."): value for name, value in told.items() if name.startswith("KAFKA_")}


async def test_kafka_knows_every_setting(servers: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers["KAFKA_BOOTSTRAP_SERVERS"])
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    finally:
        await admin.close()
    known = {config[0] for config in answer.resources[0][4]}
    assert len(known) > 100
    assert kafka_properties().keys() - known == set()


async def test_kafka_takes_the_configuration(tmp_path: Path) -> None:
    """Its own storage tool reads the whole configuration and refuses one that does not fit together."""
    properties = {**kafka_properties(), "log.dirs": str(tmp_path / "data")}
    path = tmp_path / "server.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    jars = await ensure_jars(lambda _: None, os.environ)
    cluster = environment(SERVICES["kafka"])["CLUSTER_ID"]
    argv = [program("java"), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(path)]
    classes = {**os.environ, "CLASSPATH": jars.kafka}
    done = await asyncio.to_thread(
        subprocess.run, argv, env=classes, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "data" / "meta.properties").exists()
