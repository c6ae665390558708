"""Binds a reader to a Faust app: one agent, one record at a time, acknowledged by us and only when it was applied.

Faust acks an event when its iterator is closed, and acks and skips the one at which an agent raised. Hence ``noack()``,
an explicit ``ack``, and an exception that escapes ends the process before Faust sees it.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from faust.types import EventT, StreamT

from schemas.codec import Record
from streams.app import App
from streams.deadletters import describe, stack_of
from streams.reader import Reader
from streams.watchdog import end_process

log = structlog.get_logger()


def attach(app: App, reader: Reader) -> None:
    """Let the app's agent feed the reader, and its rebalances mark it."""
    channel = app.topic(
        reader.topic.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    async def read(stream: StreamT) -> None:
        async for event in stream.noack().events():
            record = to_record(event)
            try:
                await reader.take(record)
            except Exception as error:  # noqa: BLE001 -- Faust would ack, skip and go on
                log.error("unexpected failure", role=reader.role, cause=describe(error), stack=stack_of(error))
                end_process(f"{reader.role}: {describe(error)}")
            await stream.ack(event)
            reader.acked(record)

    app.agent(channel, name=f"openv.{reader.role}", concurrency=1)(read)

    def assigned(_app: Any, partitions: Iterable[Any], **_: Any) -> None:
        reader.on_assigned(at.partition for at in partitions if at.topic == reader.topic.name)

    def revoked(_app: Any, _partitions: Iterable[Any], **_: Any) -> None:
        reader.on_revoked()

    app.on_partitions_assigned.connect(assigned)
    app.on_partitions_revoked.connect(revoked)


def to_record(event: EventT) -> Record:
    """Faust's event as our record. Faust turns timestamps into seconds; milliseconds survive that exactly."""
    message = event.message
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=round((message.timestamp or 0) * 1000),
        key=message.key or b"",
        value=message.value,
        headers=tuple((name, value) for name, value in message.headers or ()),
    )
