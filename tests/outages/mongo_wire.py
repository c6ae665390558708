"""A wire to MongoDB that fails as networks and hosts do: refused, silent, or deaf to the answers of writes."""

import asyncio
from contextlib import suppress

from tests.servers import Wire

# How the body of an OP_MSG begins: the type of the first element (a string) and the command's name.
WRITES = tuple(b"\x02%b\0" % name for name in (b"insert", b"update", b"delete", b"findAndModify", b"createIndexes"))

CONNECT_WITHIN_S = 5.0


class MongoWire(Wire):
    """``cut()`` and ``mend()`` as ever.

    ``hold()``: nothing passes and nothing breaks, new connections are accepted and find silence, as from a host that is
    frozen; after ``let_go()`` what was sent meanwhile arrives, late. ``lose_writes = True``: a write is carried out,
    then its connection ends instead of the answer; reads are answered.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.lose_writes = False
        self.lost = 0
        self._flows = asyncio.Event()
        self._flows.set()

    def hold(self) -> None:
        """Relay nothing, break nothing."""
        self._flows.clear()

    def let_go(self) -> None:
        """Relay what was held, and go on."""
        self._flows.set()

    async def cut(self) -> None:
        """See ``Wire.cut``; what was held is lost."""
        await super().cut()
        self.let_go()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):  # a host that is frozen accepts a few, then no more
                far_reader, far_writer = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):  # cancelled: the loop is closed, and nobody waits for this task
            writer.close()
            return
        pair, doomed = {writer, far_writer}, asyncio.Event()
        self._writers |= pair
        try:
            await asyncio.gather(
                self._carry(reader, far_writer, doomed, back=False), self._carry(far_reader, writer, doomed, back=True)
            )
        finally:
            self._writers -= pair

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event, *, back: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                if back and doomed.is_set():
                    self.lost += 1
                    break
                if not back and self.lose_writes and any(word in data for word in WRITES):
                    doomed.set()
                writer.write(data)
                await writer.drain()
        writer.close()
