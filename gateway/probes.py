"""Whether the servers behind the gateway answer: asked every two seconds, so that requests need not find out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from repo.ports import Unavailable

INTERVAL_S = 2.0
PATIENCE_S = 3.0
logger = structlog.get_logger()


class Probes:
    """``pings`` by server name. A server counts as missing until it has answered once."""

    def __init__(self, pings: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._pings = pings
        self._missing: dict[str, str] = dict.fromkeys(pings, "not asked yet")

    def missing(self) -> list[str]:
        """The names of the servers that did not answer the last time."""
        return list(self._missing)

    def answers(self, server: str) -> bool:
        return server not in self._missing

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.ask_all()
            await asyncio.sleep(INTERVAL_S)

    async def ask_all(self) -> None:
        """Ask every server once, at the same time."""
        await asyncio.gather(*(self._ask(server, ping) for server, ping in self._pings.items()))

    async def _ask(self, server: str, ping: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ping()
        except (Unavailable, TimeoutError) as error:
            reason = error.reason if isinstance(error, Unavailable) else "no answer in time"
            if server not in self._missing or self._missing[server] == "not asked yet":
                logger.warning("server_missing", server=server, reason=reason)
            self._missing[server] = reason
        except Exception:  # a defect of an adapter must not end the asking; it reads as a server that is away
            logger.exception("ping_failed", server=server)
            self._missing[server] = "its ping failed"
        else:
            if self._missing.pop(server, "not asked yet") != "not asked yet":
                logger.info("server_back", server=server)
