"""Looks whether the database is still the one that was there: when a connection was opened, and now and then.

An empty database in a full one's place means another server process, or another server: our connections to the old one
are gone. So one look after a connection was opened is enough, and costs a decision nothing; the look now and then is
for a database that was emptied or restored under a server that runs on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo.monitoring import ConnectionPoolListener

from repo.core.documents import from_document
from repo.core.identity import judged
from schemas.identities import Identity

T = TypeVar("T")

COLLECTION = "identity"
DOCUMENT_ID = "database"
LOOK_EVERY_S = 1.0  # a server can hardly end and another be there in that time
LOOK_AGAIN_S = 0.5  # where it was refused


class NotTheDatabase(Exception):
    """It answers, and must not be used. The words are for a person."""


class Guard:
    """One client's. ``read``: the identity document; ``adopts``: see ``judged``; ``connections``: to listen to it."""

    def __init__(
        self,
        read: Callable[[], Awaitable[dict[str, Any] | None]],
        *,
        adopts: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._adopts = adopts
        self._clock = clock
        self.connections = NewConnections()
        self._seen_connections = -1
        self._looked_at = float("-inf")
        self._known: Identity | None = None
        self._refusal: str | None = None
        self._looking: asyncio.Task[None] | None = None
        self.replaced = asyncio.Event()

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The question's answer, by the known database. Raises ``NotTheDatabase``; the question may have been asked."""
        await self._sure()
        answer = await question()
        if self.connections.count != self._seen_connections:  # it may have come through a new one
            await self._sure()
        return answer

    async def sure_anew(self) -> None:
        """Look, however short ago it was: a connection broke. Raises ``NotTheDatabase``."""
        self.forget()
        await self._sure()

    def forget(self) -> None:
        """Look before the next question: the identity was changed by this process."""
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    async def _sure(self) -> None:
        age = self._clock() - self._looked_at
        due = age > (LOOK_EVERY_S if self._refusal is None else LOOK_AGAIN_S)
        if due or self.connections.count != self._seen_connections:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
                self._looking.add_done_callback(_seen)
            await asyncio.shield(self._looking)  # one look for all who wait for one
        if self._refusal is not None:
            raise NotTheDatabase(self._refusal)

    async def _look(self) -> None:
        connections = self.connections.count
        found = await self._read()
        verdict = judged(self._known, from_document(Identity, found) if found else None, adopts=self._adopts)
        self._known, self._refusal = verdict.known, verdict.refusal
        if verdict.replaced:
            self.replaced.set()
        self._seen_connections, self._looked_at = connections, self._clock()


class NewConnections(ConnectionPoolListener):
    """Counts the connections that a client opens."""

    def __init__(self) -> None:
        self.count = 0

    def connection_created(self, event: object) -> None:  # noqa: ARG002 -- the driver gives it
        """From one of the driver's threads; two at once may count as one, which is enough."""
        self.count += 1

    def pool_created(self, event: object) -> None:
        """Of no interest."""

    def pool_ready(self, event: object) -> None:
        """Of no interest."""

    def pool_cleared(self, event: object) -> None:
        """Of no interest."""

    def pool_closed(self, event: object) -> None:
        """Of no interest."""

    def connection_ready(self, event: object) -> None:
        """Of no interest."""

    def connection_closed(self, event: object) -> None:
        """Of no interest."""

    def connection_check_out_started(self, event: object) -> None:
        """Of no interest."""

    def connection_check_out_failed(self, event: object) -> None:
        """Of no interest."""

    def connection_checked_out(self, event: object) -> None:
        """Of no interest."""

    def connection_checked_in(self, event: object) -> None:
        """Of no interest."""


def _seen(look: "asyncio.Task[None]") -> None:
    """A failure that nobody waits for any more is no news for the loop's log."""
    if not look.cancelled():
        look.exception()
