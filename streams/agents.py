"""Binds a reader to a Faust app: one agent that feeds lanes; a record is acknowledged by us, when it was applied.

Faust acks an event when its iterator is closed, and acks and skips the one at which an agent raised. Hence ``noack()``,
an explicit ``ack``, and an exception that escapes ends the process before Faust sees it. Faust commits past an event
that still runs where acks of one partition come out of order (its ``concurrency`` does that); a lane keeps the order.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import structlog
from faust.types import EventT

from schemas.codec import Record
from streams.app import App
from streams.deadletters import describe, stack_of
from streams.lanes import Lanes
from streams.reader import Reader
from streams.watchdog import end_process

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A record on its way through a lane. ``generation``: the consumer group's when Kafka delivered it."""

    record: Record
    generation: int
    ack: Callable[[], Awaitable[bool]]


def attach(app: App, reader: Reader) -> Lanes[_Delivery]:
    """Let the app's agent feed the reader, and its rebalances mark it. The lanes tell what is under way."""

    async def apply(delivery: _Delivery) -> None:
        if delivery.generation != app.consumer_generation_id:
            return  # since a rebalance it is another's, or it is delivered again: Faust begins at the last commit
        await reader.take(delivery.record)
        await delivery.ack()
        if delivery.generation == app.consumer_generation_id:
            reader.acked(delivery.record)

    def fail(error: Exception) -> None:
        log.error("unexpected failure", role=reader.role, cause=describe(error), stack=stack_of(error))
        end_process(f"{reader.role}: {describe(error)}")

    lanes = Lanes(apply, fail)
    channel = app.topic(
        reader.topic.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    async def read(stream: Any) -> None:
        events: AsyncIterator[EventT[bytes]] = stream.noack().events()
        async for event in events:
            record = to_record(event)
            generation: int = cast("Any", event.message).generation_id
            delivery = _Delivery(record, generation, partial(stream.ack, event))
            await lanes.put(record.partition, delivery)

    app.agent(channel, name=f"openv.{reader.role}", concurrency=1)(read)

    def assigned(_app: object, partitions: Iterable[Any], **_: object) -> None:
        reader.on_assigned(at.partition for at in partitions if at.topic == reader.topic.name)

    def revoked(*_: object, **__: object) -> None:
        reader.on_revoked()

    app.on_partitions_assigned.connect(cast("Any", assigned))
    app.on_partitions_revoked.connect(cast("Any", revoked))
    return lanes


def to_record(event: EventT[bytes]) -> Record:
    """Faust's event as our record. Faust turns timestamps into seconds; milliseconds survive that exactly."""
    message: Any = event.message
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp=round((message.timestamp or 0) * 1000),
        key=message.key or b"",
        value=message.value,
        headers=tuple((name, value) for name, value in message.headers or ()),
    )
