"""The embedded Kafka broker: one KRaft node on the loopback address, its own controller."""

import base64
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from operations.stack.child import JAVA_LOGGING, Command, read_tail, run_to_end, server_environment
from operations.stack.data_dir import replace_file
from operations.stack.errors import StackError, last_words
from operations.stack.kafka_probe import cluster_id_at
from operations.stack.ports import LOOPBACK, RememberedPorts
from operations.stack.space import out_of_room, unwritable
from operations.stack.supervisor import Part

PORTS = ("broker", "controller")
_FORMAT_WITHIN_S = 60.0
_MARK = "formatted.json"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
controller.listener.names=CONTROLLER
# Relative to the working directory: a comma would make two folders of an absolute one, an accent none.
log.dirs=log
auto.create.topics.enable=false
# One node holds the only replica of everything.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# A stack that was stopped for a month goes on where it was.
offsets.retention.minutes=43200
# Values are at most 512 KiB, but batches, headers and another producer's settings need room.
message.max.bytes=4194304
# Back within seconds after a kill: the old registration must run out before the new one counts.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
# After a kill the coordinator answers for a moment from the last checkpoint: let that be a second old, not five.
replica.high.watermark.checkpoint.interval.ms=1000
# 128 MB by default: half of the heap.
log.cleaner.dedupe.buffer.size=10485760
"""


class KafkaServer:
    """One broker over one folder. Its ports may change from start to start; its records do not mind."""

    def __init__(self, folder: Path, java: str, class_path: str, archive: Path | None = None) -> None:
        self._folder = folder
        self._java = java
        self._class_path = class_path
        self._archive = archive
        self._cluster_id = ""
        self.ports: Mapping[str, int] = {}

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.ports['broker']}"

    def part(self, remembered: RememberedPorts) -> Part:
        """What the supervisor runs."""

        async def command() -> Command:
            return await self.prepare(remembered.for_start())

        async def is_ready(_pid: int) -> bool:
            ready = await self.is_ready()
            if ready:
                remembered.settle()
            return ready

        return Part("kafka", command, is_ready, grace_s=4.0, give_up_after=4)

    async def prepare(self, ports: Mapping[str, int], *options: str) -> Command:
        """Writes the configuration, formats the folder when it is new, and says how to start. Raises ``StackError``."""
        self.ports = ports
        log_dir = self._folder / "log"
        properties = self._folder / "server.properties"
        text = _PROPERTIES.format(host=LOOPBACK, **self.ports)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            replace_file(properties, text)
            self._cluster_id = _formatted(self._folder, log_dir)
            if not self._cluster_id:
                shutil.rmtree(log_dir, ignore_errors=True)
        except OSError as error:
            raise unwritable("Kafka's folder", self._folder, error) from error
        if not self._cluster_id:
            self._cluster_id = await self._format(properties)
        return self._java_command("kafka.Kafka", str(properties), heap_mb=256, options=options)

    async def is_ready(self) -> bool:
        """Whether *this* broker (the cluster with our id, not a stranger on its port) answers and counts itself in."""
        return await cluster_id_at(LOOPBACK, self.ports["broker"]) == self._cluster_id

    async def _format(self, properties: Path) -> str:
        # KRaft's ids are 16 random bytes in base64url; one with a leading dash would read as an option.
        cluster_id = "-"
        while cluster_id.startswith("-"):
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        log = self._folder / "format.log"
        log.unlink(missing_ok=True)
        arguments = ("format", "-t", cluster_id, "-c", str(properties))
        command = self._java_command("kafka.tools.StorageTool", *arguments, heap_mb=128)
        try:
            code = await run_to_end(command, log, _FORMAT_WITHIN_S)
        except TimeoutError:
            code = -1
        if code != 0:
            raise out_of_room(self._folder, read_tail(log)) or StackError(
                f"Kafka's folder {self._folder} could not be formatted (the log is {log}): {last_words(read_tail(log))}"
            )
        try:
            replace_file(self._folder / _MARK, json.dumps({"cluster_id": cluster_id}) + "\n")
        except OSError as error:
            raise unwritable("Kafka's folder", self._folder, error) from error
        return cluster_id

    def _java_command(self, main_class: str, *arguments: str, heap_mb: int, options: tuple[str, ...] = ()) -> Command:
        archive = (f"-XX:SharedArchiveFile={self._archive}",) if self._archive else ()
        flags = (f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
        return Command(
            (self._java, *flags, *archive, *options, *JAVA_LOGGING, main_class, *arguments),
            {**server_environment(os.environ), "CLASSPATH": self._class_path},
            self._folder,
        )


def _formatted(folder: Path, log_dir: Path) -> str:
    """The cluster id of a folder that was formatted to the end, empty if it has to be formatted (again).

    The mark is written after the format: without it the format was cut short, which is safe to repeat as long as no
    broker has written there. Raises ``StackError`` where records would be lost by that.
    """
    marked = folder / _MARK
    named = _cluster_id_in(log_dir / "meta.properties")
    if marked.exists() and named:
        try:
            cluster_id = str(json.loads(marked.read_text())["cluster_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise StackError(f"{marked} is damaged. Move {folder} away to start with an empty Kafka.") from error
        if cluster_id == named:
            return cluster_id
        raise StackError(
            f"Kafka's folder {log_dir} belongs to another cluster ({named}) than {marked.name} says ({cluster_id}). "
            f"Put back the one that was there, or move {folder} away to start with an empty Kafka."
        )
    # A folder per partition, with its records in *.log; the metadata log counts: topics are in it.
    if any(segment.stat().st_size > 0 for segment in log_dir.glob("*/*.log")):
        raise StackError(
            f"Kafka's folder {log_dir} holds records but is not whole (meta.properties or {marked.name} is missing or "
            f"damaged). Restore it from a backup, or move {folder} away to start with an empty Kafka."
        )
    return ""


def _cluster_id_in(properties: Path) -> str:
    """The cluster id in Kafka's ``meta.properties``, empty where the file is missing or not whole."""
    try:
        lines = properties.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    return named.get("cluster.id", "") if "node.id" in named else ""
