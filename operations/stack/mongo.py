"""The embedded MongoDB stand-in: mongo-java-server made durable (DurableMongo.java) over one file."""

import os
from collections.abc import Mapping
from pathlib import Path

from operations.stack.child import JAVA_LOGGING, Command, server_environment
from operations.stack.mongo_probe import server_pid_at
from operations.stack.ports import LOOPBACK, RememberedPorts
from operations.stack.space import unwritable
from operations.stack.supervisor import Part

PORTS = ("server",)
FILE = "openv.mv"
DAMAGED = 7  # an exit code of DurableMongo.java


class MongoServer:
    """One stand-in over one folder."""

    def __init__(self, folder: Path, java: str, class_path: str) -> None:
        self._folder = folder
        self._java = java
        self._class_path = class_path
        self._ports: Mapping[str, int] = {}

    @property
    def uri(self) -> str:
        return f"mongodb://{LOOPBACK}:{self._ports['server']}/?directConnection=true"

    def part(self, remembered: RememberedPorts) -> Part:
        """What the supervisor runs."""

        async def command() -> Command:
            return self.prepare(remembered.for_start())

        async def is_ready(pid: int) -> bool:
            ready = await self.is_ready(pid)
            if ready:
                remembered.settle()
            return ready

        damaged = (
            f"The database {self._folder / FILE} is damaged or older than what was stored in it. Restore "
            f"{self._folder} from a backup, or move it away to start with an empty database."
        )
        return Part("mongo", command, is_ready, grace_s=3.0, give_up_after=4, final={DAMAGED: damaged})

    def prepare(self, ports: Mapping[str, int]) -> Command:
        """Makes the folder and says how to start. Raises ``StackError``."""
        self._ports = ports
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise unwritable("The database's folder", self._folder, error) from error
        flags = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
        arguments = (LOOPBACK, str(ports["server"]), FILE)  # relative: Java need not be able to spell the folder
        return Command(
            (self._java, *flags, *JAVA_LOGGING, "DurableMongo", *arguments),
            {**server_environment(os.environ), "CLASSPATH": self._class_path},
            self._folder,
        )

    async def is_ready(self, pid: int) -> bool:
        """Whether *this* process answers commands on its port (a stranger there would name another pid)."""
        return await server_pid_at(LOOPBACK, self._ports["server"]) == pid
