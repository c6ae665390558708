"""What the store says of serverless endpoints, remembered for a few seconds: what an operator changes counts so much
later. While the store does not answer, what was read less than ``STALE_MS`` ago counts."""

import asyncio
import re
from collections.abc import Callable

from gateway.core.recent import Recent
from gateway.errors import Problem, Refused
from repo.endpoints import EndpointStore
from repo.ports import Unavailable
from schemas.endpoints import ENDPOINT_ID, ServerlessEndpoint

FRESH_MS = 5_000
STALE_MS = 30_000
REMEMBERED_MAX = 1_000
_ID = re.compile(ENDPOINT_ID[1:-1])


class KnownEndpoints:
    """One a process."""

    def __init__(self, store: EndpointStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._known: Recent[str, tuple[ServerlessEndpoint, int]] = Recent(REMEMBERED_MAX)
        # Apart: whoever makes ids up must not make the gateway forget those that are in use.
        self._unknown: Recent[str, int] = Recent(REMEMBERED_MAX)
        self._reading: dict[str, asyncio.Task[ServerlessEndpoint | None]] = {}

    async def usable(self, endpoint_id: str, user_id: str) -> ServerlessEndpoint:
        """The endpoint, for a user who may use it. Raises ``Refused``: to anybody else there is none."""
        endpoint = await self.find(endpoint_id)
        if endpoint is None or not endpoint.admits(user_id):
            raise Refused(Problem.NO_ENDPOINT)
        return endpoint

    async def find(self, endpoint_id: str) -> ServerlessEndpoint | None:
        """The endpoint, a deleted one too. Raises ``Unavailable`` if that can't be known now."""
        if not _ID.fullmatch(endpoint_id):
            return None
        known, asked_at = self._known.get(endpoint_id), self._now()
        if known is not None and asked_at - known[1] < FRESH_MS:
            return known[0]
        missed_at = self._unknown.get(endpoint_id)
        if known is None and missed_at is not None and asked_at - missed_at < FRESH_MS:
            return None
        try:
            return await self._read_once(endpoint_id, asked_at)
        except Unavailable:
            if known is None and missed_at is not None and asked_at - missed_at < STALE_MS:
                return None
            if known is not None and asked_at - known[1] < STALE_MS:
                return known[0]
            raise

    async def _read_once(self, endpoint_id: str, asked_at: int) -> ServerlessEndpoint | None:
        """One read of an endpoint at a time, shared by all who ask; a caller who leaves stops nobody's."""
        reading = self._reading.get(endpoint_id)
        if reading is None:
            reading = self._reading[endpoint_id] = asyncio.create_task(self._store.endpoint(endpoint_id))
            reading.add_done_callback(lambda done: self._keep(endpoint_id, done, asked_at))
        return await asyncio.shield(reading)

    def _keep(self, endpoint_id: str, done: "asyncio.Task[ServerlessEndpoint | None]", asked_at: int) -> None:
        del self._reading[endpoint_id]
        if done.cancelled() or done.exception() is not None:
            return
        endpoint = done.result()
        if endpoint is None:
            self._known.pop(endpoint_id, None)
            self._unknown[endpoint_id] = asked_at
        else:
            self._known[endpoint_id] = (endpoint, asked_at)
