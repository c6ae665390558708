"""Uvicorn around the admin API, on the gateway's own bounds of a connection."""

import logging

import uvicorn
from starlette.applications import Starlette

from gateway.connection import bounded
from gateway.lingering import Lingering
from gateway.server import Orderly
from operations.admin.settings import AdminSettings
from repo import notify

KEEP_ALIVE_S = 5
CONNECTIONS_MAX = 200


class AdminServer(Orderly):
    """``X-Forwarded-For`` counts from the trusted proxies alone; nothing of uvicorn logs an address with its query."""

    def __init__(self, app: Starlette, settings: AdminSettings) -> None:
        self._lingering = Lingering(settings.admin_body_seconds)
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded(settings.admin_head_seconds, settings.admin_body_seconds, self._lingering),
                ws="none",
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                limit_concurrency=CONNECTIONS_MAX,
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                server_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=KEEP_ALIVE_S,
                lifespan="on",
            )
        )

    async def shutdown(self, sockets: object = None) -> None:
        """Listeners, connections, then the works, which others go on with."""
        notify.notify("STOPPING=1")
        try:
            await super().shutdown(sockets)  # type: ignore[arg-type]
        finally:
            self._lingering.close()
