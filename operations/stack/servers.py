"""The embedded servers of one data directory: which are needed, how each is run, and how to reach them."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from operations.stack import kafka, mongo, s3
from operations.stack.data_dir import DataDir
from operations.stack.jars import Note, ensure_jars
from operations.stack.java import find_java
from operations.stack.kafka_archive import ensure_archive
from operations.stack.ports import RememberedPorts
from operations.stack.settings import StackSettings, child_environment, read_settings
from operations.stack.space import out_of_room, require_room
from operations.stack.supervisor import Change, Part, Supervisor


@dataclass(frozen=True)
class Servers:
    """The parts to supervise, and (once they are ready) what their clients have to know.

    ``addresses``: where each part answers, by its name, for a person; to be asked once that part is ready.
    """

    parts: tuple[Part, ...]
    environment: Callable[[], dict[str, str]]
    addresses: Mapping[str, Callable[[], str]]


async def embedded_servers(
    data_dir: DataDir, settings: StackSettings, note: Note, environ: Mapping[str, str]
) -> Servers:
    """The servers that the settings leave to us; fetches the programs that this machine lacks. Raises ``StackError``.

    The caller holds the data directory's lock. ``environment()`` is complete once all parts have been ready.
    """
    if None in (settings.s3_endpoint_url, settings.kafka_bootstrap_servers, settings.mongodb_uri):
        require_room(data_dir.path)
    parts: list[Part] = []
    facts: list[Callable[[], dict[str, str]]] = []
    addresses: dict[str, Callable[[], str]] = {}
    if settings.s3_endpoint_url is None:
        keys = s3.keys_of(data_dir)
        store = s3.S3Server(data_dir.folder("s3"), s3.find_weed(), keys, settings.s3_bucket, settings.s3_region)
        parts.append(store.part(RememberedPorts(data_dir, "s3", s3.PORTS)))
        addresses["s3"] = lambda: store.url
        facts.append(
            lambda: {
                "S3_ENDPOINT_URL": store.url,
                "S3_ACCESS_KEY_ID": keys.access_key_id,
                "S3_SECRET_ACCESS_KEY": keys.secret_access_key,
            }
        )
    if settings.kafka_bootstrap_servers is None or settings.mongodb_uri is None:
        java = find_java()
        jars = await ensure_jars(note, environ)
    if settings.kafka_bootstrap_servers is None:
        archive = await ensure_archive(jars, java, note, environ)
        broker = kafka.KafkaServer(data_dir.folder("kafka"), java, jars.kafka, archive)
        parts.append(broker.part(RememberedPorts(data_dir, "kafka", kafka.PORTS)))
        addresses["kafka"] = lambda: broker.address
        facts.append(lambda: {"KAFKA_BOOTSTRAP_SERVERS": broker.address})
    if settings.mongodb_uri is None:
        database = mongo.MongoServer(data_dir.folder("mongo"), java, jars.mongo)
        parts.append(database.part(RememberedPorts(data_dir, "mongo", mongo.PORTS)))
        addresses["mongo"] = lambda: database.uri
        facts.append(lambda: {"MONGODB_URI": database.uri})
    environment = lambda: {name: value for fact in facts for name, value in fact().items()}  # noqa: E731
    return Servers(tuple(parts), environment, addresses)


class EmbeddedServers:
    """The embedded servers alone, for tests and tools::

        async with EmbeddedServers(tmp_path / "data") as environment:
            ...  # environment["KAFKA_BOOTSTRAP_SERVERS"], ["MONGODB_URI"], ["S3_ENDPOINT_URL"], ...

    Holds the directory's lock; starts the servers side by side; the environment is complete, for child processes.
    Servers that ``environ`` names (default: none, whatever the machine's environment says) are not started.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str] | None = None,
        on_change: Callable[[Change], None] | None = None,
        note: Note | None = None,
    ) -> None:
        self._path = path
        self._settings = read_settings(environ or {})
        self._on_change = on_change
        self._note = note or (lambda _line: None)
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        if self._supervisor is None:
            raise RuntimeError("the servers have not been started")
        return self._supervisor

    async def __aenter__(self) -> dict[str, str]:
        data_dir = DataDir(self._path)
        self._lock = data_dir.lock()
        self._lock.__enter__()
        try:
            servers = await embedded_servers(data_dir, self._settings, self._note, os.environ)
            verdict = partial(out_of_room, data_dir.path)
            self._supervisor = Supervisor(servers.parts, data_dir.logs, self._on_change, verdict)
            await self._supervisor.start()
        except BaseException:
            await self._end()
            raise
        return child_environment(self._settings, servers.environment(), data_dir.path, os.environ)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        try:
            if self._supervisor is not None:
                await asyncio.shield(self._supervisor.stop())
        finally:
            self._lock.__exit__(None, None, None)
