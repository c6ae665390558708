"""Uvicorn around the application: its settings, its listening socket, and an orderly end."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from gateway.app import leave
from gateway.connection import bounded
from gateway.lingering import Lingering
from gateway.live.sse import cuttable
from gateway.live.wire import protocol_class
from gateway.settings import GatewaySettings
from repo import notify

BACKLOG = 1024
DEAD_PEER_MS = 30_000
# Clients keep a connection for 15 s (aiohttp) to 60 s and may not see that we closed it: a handler of a RunPod worker
# that blocks its loop posts its result on the connection that it had, and does not try again on another.
KEEP_ALIVE_S = 75
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Orderly(uvicorn.Server):
    """Uvicorn, which a signal ends in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own way ends the process by the same signal before Kafka and MongoDB are left in order."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)


class Server(Orderly):
    """Uvicorn, which says good-bye to the sockets in our words before it closes them in its own.

    Deflate is off (it costs 37 KiB a connection), and nothing of uvicorn logs an address with its query string.
    """

    def __init__(self, app: Starlette, settings: GatewaySettings) -> None:
        self._lingering = Lingering(settings.body_seconds)
        super().__init__(
            uvicorn.Config(
                app,
                http=cuttable(bounded(settings.head_seconds, settings.body_seconds, self._lingering)),
                ws=protocol_class(),
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                ws_per_message_deflate=False,
                ws_max_size=settings.socket_message_bytes,
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                server_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=KEEP_ALIVE_S,
                lifespan="on",
            )
        )
        self._gateway = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listeners, then our sockets, then uvicorn's connections, then the lifespan."""
        notify.notify("STOPPING=1")
        for listening in self.servers:
            listening.close()
        await leave(self._gateway)
        try:
            await super().shutdown(sockets)
        finally:
            self._lingering.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError. A peer that takes nothing for half a minute is dropped by the kernel."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Asyncio turns Nagle's algorithm off only where a socket names its protocol; with it, every answer of two writes
    # (a head, a body) waits for the client's delayed acknowledgement: 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
