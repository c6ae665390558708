"""From the orders in a poll to the answer of its worker: the inputs, and the reports that the attempts started.

The reports are in Kafka before the worker hears of a job, so that whatever it says of it finds the attempt known.
Inputs are passed on as they were stored: reading 10 MB of JSON would hold up everybody else here.
"""

import asyncio
from contextlib import AsyncExitStack

import structlog

from gateway.core.job_texts import BadText, job_text
from gateway.errors import Refused
from gateway.runpod.byte_room import ByteRoom
from gateway.workers.outbox import SOURCE
from gateway.workers.polls import JobPoll
from gateway.workers.room import Room
from repo import tracing
from repo.ports import Unavailable
from repo.stores import ObjectStores
from repo.values import LostValue, stored_input
from schemas.api.runpod import RUNSYNC_BYTES
from schemas.codec import Encoded, Message, encode
from schemas.commands import AttemptFailed, AttemptStarted
from schemas.dispatch import RunAttempt
from schemas.failures import FailureCode
from schemas.slots import slot_of

READ_S = 8.0  # with what a poll may last, less than the 90 s after which the SDK gives one up
APPEND_S = 5.0
ANSWER_BYTES = 32 * 1024 * 1024  # once an answer has so many, no further large inputs are read for it
READ_AT_ONCE = 3
LOST = "Its input is not in the object store any more, or is damaged there; send the request again."
logger = structlog.get_logger()


async def jobs_for(
    room: Room, objects: ObjectStores, bodies: ByteRoom, poll: JobPoll, answer: AsyncExitStack
) -> list[bytes]:
    """The jobs that the poll's worker is answered with, JSON texts; those that can't be handed over are left to the
    scheduler. Large inputs take room among all ``bodies``, which they have until ``answer`` is closed."""
    orders = list(poll.orders)
    reading = _Reading(objects, bodies, answer)
    texts = await asyncio.gather(*(reading.job(order) for order in orders))
    ready = [(order, text) for order, text in zip(orders, texts, strict=True) if isinstance(text, bytes)]
    words: list[Message] = [_lost(order) for order, text in zip(orders, texts, strict=True) if text is LOST]
    words += [_started(order) for order, _ in ready]
    if not words or not await _said(room, words):
        return []
    for order, _ in ready:
        _given(room, order)
    return [text for _, text in ready]


class _Reading:
    """Of the inputs for one answer. Those that would make it too large are left to the scheduler."""

    def __init__(self, objects: ObjectStores, bodies: ByteRoom, answer: AsyncExitStack) -> None:
        self._objects = objects
        self._bodies = bodies
        self._answer = answer
        self._turns = asyncio.Semaphore(READ_AT_ONCE)
        self._bytes = 0

    async def job(self, order: RunAttempt) -> bytes | str | None:
        """The job as its worker is given it; ``LOST``; or None: it can't be read now."""
        try:
            if order.request.input is not None:  # most: nothing is waited for
                text: bytes | None = await stored_input(self._objects, order.request)
            else:
                async with asyncio.timeout(READ_S), self._turns:
                    text = await self._large(order)
            if text is None:
                return None
            return job_text(text, order.job_id, order.execution_timeout_ms, order.webhook)
        except (LostValue, BadText):
            return LOST
        except (Unavailable, Refused, TimeoutError) as error:
            logger.warning("input_unavailable", job_id=order.job_id, error=type(error).__name__)
            return None

    async def _large(self, order: RunAttempt) -> bytes | None:
        if self._bytes >= ANSWER_BYTES:
            return None
        keep = await self._answer.enter_async_context(self._bodies.held(f"take:{order.pool}", RUNSYNC_BYTES))
        text = await stored_input(self._objects, order.request)
        keep(len(text))
        self._bytes += len(text)
        return text


def _given(room: Room, order: RunAttempt) -> None:
    room.orders.given(order)
    slot = slot_of(order.worker_id)
    handed = room.handed.find(slot.endpoint_id, slot.pod_id, order.job_id) if slot else None
    if handed is not None:
        handed.given = True


async def _said(room: Room, words: list[Message]) -> bool:
    try:
        async with asyncio.timeout(APPEND_S):
            await room.log.append_all([_encoded(room, word) for word in words])
    except (Unavailable, TimeoutError) as error:
        logger.warning("start_not_recorded", error=type(error).__name__)
        return False
    return True


def _encoded(room: Room, word: Message) -> Encoded:
    # One append for all that a poll was given: each goes on in the trace of its own job.
    traceparent = tracing.traceparent(getattr(word, "job_id", None))
    return encode(word, source=SOURCE, at=room.now(), traceparent=traceparent)


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
