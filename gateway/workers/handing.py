"""From the orders in a poll to the answer of its worker: the inputs, and the reports that the attempts started.

The reports are in Kafka before the worker hears of a job, so that whatever it says of it finds the attempt known.
"""

import asyncio
from typing import Any

import structlog

from gateway.workers.outbox import SOURCE
from gateway.workers.polls import JobPoll
from gateway.workers.room import Room
from repo.ports import Unavailable
from repo.stores import ObjectStores
from repo.values import LostValue, read_input
from schemas.codec import Message, encode
from schemas.commands import AttemptFailed, AttemptStarted
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode
from schemas.slots import slot_of

READ_S = 8.0  # with what a poll may last, less than the 90 s after which the SDK gives one up
APPEND_S = 5.0
LOST = "Its input is not in the object store any more; send the request again."
logger = structlog.get_logger()


async def jobs_for(room: Room, objects: ObjectStores, poll: JobPoll) -> list[dict[str, Any]]:
    """The jobs that the poll's worker is answered with; those that can't be handed over are left to the scheduler."""
    orders = list(poll.orders)
    inputs = await asyncio.gather(*(_input(objects, order) for order in orders))
    ready = [(order, value) for order, value in zip(orders, inputs, strict=True) if isinstance(value, dict)]
    words: list[Message] = [_lost(order) for order, value in zip(orders, inputs, strict=True) if value is LOST]
    words += [_started(order) for order, _ in ready]
    if not words or not await _said(room, words):
        return []
    return [_given(room, order, value) for order, value in ready]


async def _input(objects: ObjectStores, order: RunAttempt) -> dict[str, Any] | str | None:
    """What the client sent; ``LOST``; or None: it can't be read now."""
    try:
        if order.request.input is not None:  # most: nothing is waited for
            return await read_input(objects, order.request)
        async with asyncio.timeout(READ_S):
            return await read_input(objects, order.request)
    except LostValue:
        return LOST
    except (Unavailable, TimeoutError) as error:
        logger.warning("input_unavailable", job_id=order.job_id, error=type(error).__name__)
        return None


def _given(room: Room, order: RunAttempt, value: dict[str, Any]) -> dict[str, Any]:
    room.pods.given(order)
    slot = slot_of(order.worker_id)
    handed = room.handed.find(slot.endpoint_id, slot.pod_id, order.job_id) if slot else None
    if handed is not None:
        handed.given = True
    return {"input": None, **value, "id": order.job_id, "policy": {"executionTimeout": order.execution_timeout_ms}}


async def _said(room: Room, words: list[Message]) -> bool:
    try:
        async with asyncio.timeout(APPEND_S):
            await room.log.append_all([encode(word, source=SOURCE, at=room.now()) for word in words])
    except (Unavailable, TimeoutError) as error:
        logger.warning("start_not_recorded", error=type(error).__name__)
        return False
    return True


def _started(order: RunAttempt) -> AttemptStarted:
    return AttemptStarted(
        command_id=f"{order.message_id}:started",
        user_id=order.user_id,
        job_id=order.job_id,
        attempt=order.attempt,
        worker_id=order.worker_id,
    )


def _lost(order: RunAttempt) -> AttemptFailed:
    return AttemptFailed(
        command_id=f"{order.message_id}:lost",
        user_id=order.user_id,
        job_id=order.job_id,
        attempt=order.attempt,
        worker_id=order.worker_id,
        code=FailureCode.INVALID_INPUT,
        message=LOST,
    )
