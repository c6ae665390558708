"""What tests need around the real servers: settings from an environment, and a wire that can be cut."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from repo.settings import ServerSettings


def settings_of(environment: Mapping[str, str], **changes: Any) -> ServerSettings:
    """The settings that these variables give, whatever the environment of the test run itself says."""
    fields = ServerSettings.model_fields
    values = {name: field.default for name, field in fields.items() if not field.is_required()}
    values |= {name: environment[name.upper()] for name in fields if environment.get(name.upper())}
    return ServerSettings(**(values | changes))


def closed_port() -> int:
    """A port of the loopback address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Wire:
    """A TCP relay to a server that a test can cut and mend, or make swallow answers.

    ``async with Wire("127.0.0.1", 27017) as wire``: connect to ``wire.port``. ``answers = False``: requests still
    arrive, their answers do not; ``cut()``: connections break and new ones are refused, as from a server that is away.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.answers = True

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Relay (again), on the same port as before."""
        self.answers = True
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self.hang_up()
            await self._server.wait_closed()
            self._server = None

    def hang_up(self) -> None:
        """Break every connection; new ones are welcome."""
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, far_writer, back=False), self._pump(far_reader, writer, back=True))
        finally:
            self._writers -= pair

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if back and not self.answers:
                    break  # the request was carried out; the connection ends instead of the answer
                writer.write(data)
                await writer.drain()
        writer.close()
