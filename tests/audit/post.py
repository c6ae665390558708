"""Sends what the audit says, each record with a traceparent that no other one carries."""

from repo.clock import now_ms
from repo.ports import EventLog, Position, Unavailable
from schemas.codec import Message, encode

SOURCE = "/audit"


class Post:
    """Numbers what it sends. Whether it arrived is read from the log, so a send that failed is only counted."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._number = 0
        self.failed = 0

    async def send(self, *messages: Message) -> list[Position]:
        """Append them; where they lie, or nothing where Kafka did not say."""
        records = []
        for message in messages:
            self._number += 1
            trace = f"00-{self._number:032x}-{self._number:016x}-01"
            records.append(encode(message, source=SOURCE, at=now_ms(), traceparent=trace))
        try:
            return await self._log.append_all(records)
        except Unavailable:
            self.failed += len(records)
            return []
