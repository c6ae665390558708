"""The loop beside the janitor that ends the time for which things of serverless endpoints are kept.

What else has had its time goes by a walk through everything, beside this loop (``streams/forgetting.py``).
Jobs that have ended are deleted by a command to the ledger, as a user's would be, so that one writer decides; what the
janitor then hears deletes their files. Chunks that nobody took are deleted here. Any number of processes may run one:
the commands of two are the same, and the second finds nothing to do.
"""

import asyncio
from collections.abc import Iterator, Sequence

import structlog

from repo import tracing
from repo.core.documents import DamagedDocumentError
from repo.endpoints import EndpointStore
from repo.ports import EventLog, JobStore
from schemas.codec import encode
from schemas.endpoints import ServerlessEndpoint
from schemas.jobs import Job
from streams.core.keeping import GOES, deletion_of, ended_by
from streams.deadletters import describe
from streams.patience import Patience
from streams.senders import Clock

log = structlog.get_logger()

JANITOR = "/openv/janitor"
EVERY_S = 300.0
SOON_S = 5.0  # where a round left some behind
PAGE = 100  # jobs of one endpoint and kind in a round
ROUND = 300  # commands in a round
AGAIN_MS = 600_000  # after which a command that changed nothing yet is sent again


class Sweeper:
    """One process's."""

    def __init__(
        self, store: JobStore, endpoints: EndpointStore, event_log: EventLog, patience: Patience, clock: Clock
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._log = event_log
        self._patience = patience
        self._clock = clock
        self._sent: dict[str, int] = {}
        self._last = ""

    async def run(self) -> None:
        """Sweep for ever; what is away is waited for."""
        while True:
            more = await self.sweep()
            await asyncio.sleep(SOON_S if more else EVERY_S)

    async def sweep(self) -> bool:
        """One round; whether there is more to do at once."""
        swept = await self._patience.until_done(lambda: self._endpoints.sweep_chunks(self._clock()))
        if swept:
            log.info("old chunks deleted", count=swept)
        return await self._delete_jobs()

    async def _delete_jobs(self) -> bool:
        now = self._clock()
        self._sent = {command_id: at for command_id, at in self._sent.items() if now < at + AGAIN_MS}
        try:
            endpoints = await self._patience.until_done(self._endpoints.endpoints)
        except DamagedDocumentError as error:
            log.error("no old jobs are deleted: an endpoint can't be read", cause=describe(error))
            return False
        left, more = ROUND, False
        for endpoint in self._in_turn(endpoints):
            for external in GOES:
                sent, full = await self._delete(endpoint, external, left)
                left -= sent
                more = more or (full and sent > 0)
            self._last = endpoint.endpoint_id
            if left == 0:
                more = True
                break
        if left < ROUND:
            log.info("old jobs of endpoints are deleted", count=ROUND - left)
        return more

    def _in_turn(self, endpoints: Sequence[ServerlessEndpoint]) -> Iterator[ServerlessEndpoint]:
        """All, beginning behind the one that a full round ended with. They come by name."""
        yield from [one for one in endpoints if one.endpoint_id > self._last]
        yield from [one for one in endpoints if one.endpoint_id <= self._last]

    async def _delete(self, endpoint: ServerlessEndpoint, external: bool, most: int) -> tuple[int, bool]:
        """How many were told of to the ledger, and whether there may be others behind them."""
        by = ended_by(endpoint, self._clock())

        async def ask() -> list[Job]:
            return await self._store.ended_jobs(endpoint.endpoint_id, GOES[external], by, external=external, limit=PAGE)

        try:
            found = await self._patience.until_done(ask)
        except DamagedDocumentError as error:
            log.error("old jobs are not deleted", endpoint=endpoint.endpoint_id, cause=describe(error))
            return 0, False
        commands = [one for one in map(deletion_of, found) if one.command_id not in self._sent][:most]
        if commands:
            at = self._clock()
            encoded = [
                encode(one, source=JANITOR, at=at, traceparent=tracing.traceparent(one.job_id)) for one in commands
            ]
            await self._patience.until_done(lambda: self._log.append_all(encoded))
            self._sent |= {one.command_id: at for one in commands}
        return len(commands), len(found) == PAGE
