"""What waits to be sent: one queue and one sender for each kind of message, so that none holds up another.

Messages go out in order, each repeated until the event log has it. One with a ``slot`` replaces what still waits in
that slot: of beats and progress only the newest matters. Without slots the queue is as long as its users make it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from repo.clock import now_ms
from repo.ports import EventLog, Unavailable
from schemas.codec import Encoded, Message, encode

FIRST_RETRY_S = 0.2
LAST_RETRY_S = 5.0

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Waiting:
    message_id: str
    encoded: Encoded
    slot: str | None


class Outbox:
    """``run`` sends for ever; ``acked`` hears the id of every message that the log has.

    ``came_from``: the ``traceparent`` that a message carries. ``retried`` hears this one's name at each failed try."""

    def __init__(
        self,
        name: str,
        event_log: EventLog,
        source: str,
        acked: Callable[[str], None] | None = None,
        came_from: Callable[[Message], str | None] = lambda _: None,
        retried: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._log = event_log
        self._source = source
        self._acked = acked
        self._came_from = came_from
        self._retried = retried
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, message: Message, slot: str | None = None) -> None:
        """Queue a message; never waits."""
        if slot is not None:
            self._waiting = [one for one in self._waiting if one.slot != slot]
        encoded = encode(message, source=self._source, at=now_ms(), traceparent=self._came_from(message))
        self._waiting.append(_Waiting(message.message_id, encoded, slot))
        self._empty.clear()
        self._wake.set()

    async def empty(self) -> None:
        """Wait until all is sent."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send what is put, until cancelled."""
        delay = FIRST_RETRY_S
        while True:
            await self._wake.wait()
            while self._waiting:
                try:
                    await self._send(self._waiting[0])
                except Unavailable as failure:
                    self._retried(self._name)
                    if delay == FIRST_RETRY_S:
                        log.warning("messages_wait", outbox=self._name, waiting=len(self._waiting), reason=str(failure))
                    await asyncio.sleep(delay)
                    delay = min(LAST_RETRY_S, delay * 2)
                else:
                    delay = FIRST_RETRY_S
            self._wake.clear()
            self._empty.set()

    async def _send(self, one: _Waiting) -> None:
        await self._log.append(one.encoded)
        with suppress(ValueError):  # a newer one took its slot meanwhile
            self._waiting.remove(one)
        if self._acked:
            self._acked(one.message_id)
