"""The worker's orders: the one partition of ``openv.assignments`` that its id is in, from its end at the start on.

What lies before that end was meant for other sessions. The end is known before the first READY beat, so no order that
answers it can be missed. Each order is handed on once in order of the log; the core copes with repeats.
"""

from collections.abc import Callable

import structlog

from repo.ports import EventLog, Position
from schemas.codec import Record, Unreadable, decode
from schemas.dispatch import DrainSession, RemoteMoved, RunAttempt, StopAttempt
from schemas.topics import ASSIGNMENTS
from schemas.traces import HEADER

Order = RunAttempt | StopAttempt | DrainSession | RemoteMoved

log = structlog.get_logger()


async def end_of_orders(event_log: EventLog, worker_id: str) -> Position:
    """Where orders for a worker that starts now will be. Raises ``Unavailable``."""
    partition = event_log.partition_of(ASSIGNMENTS.name, worker_id.encode())
    return Position(partition, (await event_log.ends(ASSIGNMENTS.name))[partition])


async def follow_orders(
    event_log: EventLog,
    start: Position,
    worker_id: str,
    take: Callable[[Order], None],
    came_from: Callable[[Order, str | None], None] = lambda *_: None,
) -> None:
    """Hand on every order for this worker id, whichever session it means, until cancelled.

    ``came_from`` is told of each before, with its ``traceparent``.
    """
    key = worker_id.encode()
    async for batch in event_log.tail(ASSIGNMENTS.name, {start.partition: start.offset}):
        for record in batch:
            if record.key == key and (order := _order(record)):
                came_from(order, record.header(HEADER))
                take(order)


def _order(record: Record) -> Order | None:
    message = decode(record)
    if isinstance(message, Unreadable):
        # Its job is not lost: the scheduler hears of it in no beat of ours, and gives it to somebody else. The record
        # goes to the dead letters once, by the janitors, who look through this topic whoever its records are meant for.
        log.warning("order_unreadable", offset=record.offset, partition=record.partition, reason=message.reason)
        return None
    return message if isinstance(message, Order) else None
