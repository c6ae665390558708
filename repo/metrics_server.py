"""Serves a process's metrics: ``GET /metrics`` on a port of its own, by threads, so that it answers while the loop is
stuck, which is when people look.

It can't hurt the process: few connections at a time, each for a few seconds and one answer; the text is made once a
second at most, however often it is asked for. A port that is taken is tried again: the process works without.
"""

import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from repo.environment import EnvironmentSettings

PATH = "/metrics"
CONNECTIONS = 8
READ_S = 2.0
CONNECTION_S = 10.0  # from its begin to its end
FRESH_S = 1.0
WAIT_S = 5.0
LOOK_S = 0.5
BIND_AGAIN_S = 5.0

log = structlog.get_logger()


class MetricsSettings(EnvironmentSettings):
    """Where metrics are served; no port: nowhere."""

    model_config = SettingsConfigDict(env_prefix="OPENV_METRICS_")

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)

    @property
    def address(self) -> str:
        """The host as it stands in an address that somebody on this machine can follow."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 -- nothing is bound here
        return f"[{host}]" if ":" in host else host


class Exposition:
    """A registry as text, made anew when the last one is older than a second."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._text = b""

    def text(self) -> bytes:
        """Any thread; those who ask at the same time get the same. Raises ``TimeoutError``."""
        if not self._lock.acquire(timeout=WAIT_S):
            raise TimeoutError  # a number that does not come (a driver that hangs) holds up all of them
        try:
            if time.monotonic() - self._made_at >= FRESH_S:
                self._text = generate_latest(self._registry)
                self._made_at = time.monotonic()
            return self._text
        finally:
            self._lock.release()


class _Handler(BaseHTTPRequestHandler):
    """One request, one answer, and the connection ends (HTTP/1.0)."""

    server: "MetricsServer"
    server_version = "openv"
    sys_version = ""
    timeout = READ_S

    def do_GET(self) -> None:
        """The text, or 404."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            text = self.server.exposition.text()
        except Exception as error:
            log.error("metrics_failed", error=type(error).__name__, exc_info=error)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the library's name
        """Whoever scrapes is not worth a line."""


class MetricsServer(ThreadingMixIn, HTTPServer):
    """Bound to its address by the constructor, which raises OSError. ``serve_forever`` is for a thread."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self.exposition = Exposition(registry)
        self._open: dict[Any, float] = {}
        self._gate = threading.Lock()
        self.address_family = _family(host)
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The one that it has; the system chose it where 0 was asked for."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """As the library's, which would ask the name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "openv", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is room for one more."""
        with self._gate:
            has_room = len(self._open) < CONNECTIONS
            if has_room:
                self._open[request] = time.monotonic() + CONNECTION_S
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Whoever is done makes room."""
        with self._gate:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: who has stayed too long is cut off; its thread finds the socket closed."""
        now = time.monotonic()
        with self._gate:
            late = [request for request, until in self._open.items() if until < now]
        for request in late:
            _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was cut off, is no news."""


def serve_metrics(registry: CollectorRegistry, settings: MetricsSettings | None = None) -> None:
    """Serve until the process ends, in a thread of its own; without a port, not at all.

    Raises ``SettingsError``. An address that can't be had is said once, and tried again for ever.
    """
    chosen = settings or MetricsSettings()
    if chosen.port is not None:
        threading.Thread(target=_serve, args=(registry, chosen.host, chosen.port), name="metrics", daemon=True).start()


def _serve(registry: CollectorRegistry, host: str, port: int) -> None:
    said = False
    while True:
        try:
            server = MetricsServer(host, port, registry)
        except OSError as error:
            if not said:
                said = True
                log.error(
                    "metrics_not_served",
                    address=f"{host}:{port}",
                    reason=error.strerror or type(error).__name__,
                    meaning="the process works without; the address is tried again",
                    set="OPENV_METRICS_PORT",
                )
            time.sleep(BIND_AGAIN_S)
        else:
            log.info("metrics_served", address=f"{host}:{server.port}")
            server.serve_forever(LOOK_S)


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cut(request: Any) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
