"""Draining a worker: the scheduler is asked, and tells the worker's session; who waits hears its farewell."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from operations import desk as desks
from operations.audit.recording import Actor, audited
from operations.core.roster import Heard
from operations.desk import SOURCE, Desk
from operations.stack.errors import StackError
from operations.workers.roster import one_worker
from repo.clock import now_ms
from schemas.codec import Message, Record, Unreadable, decode, encode
from schemas.dispatch import DrainSession, DrainWorker, WorkerBeat, WorkerGone
from schemas.slots import slot_of
from schemas.topics import ASSIGNMENTS, DISPATCH


@dataclass(frozen=True, slots=True)
class Drained:
    """What came of it. ``told``: the scheduler has passed the order on; ``gone``: the session is over. ``words``: a
    sentence for a person."""

    worker: Heard
    told: bool
    gone: bool
    words: str


async def drain(
    desk: Desk,
    actor: Actor,
    worker_id: str,
    *,
    pool: str | None = None,
    now: bool = False,
    wait_s: float | None = None,
    reason: str = "",
) -> Drained:
    """Take the worker out of service: nothing more is handed to it, it finishes what it runs, or with ``now`` hands it
    back, and ends. ``wait_s``: how long its end is waited for; None: only until the scheduler has told it.

    Raises ``StackError`` for a worker that was not heard of late, or can't be told; ``Unavailable``.
    """
    worker = await one_worker(desk, worker_id, pool)
    if slot_of(worker_id) is not None:
        raise StackError(
            f"{worker_id} is a slot of an external worker, which takes no orders: stop its container. What it runs is "
            "handed to another half a minute later."
        )
    if worker.gone:
        return Drained(worker, told=True, gone=True, words=f"{worker_id} is gone already.")
    detail = {"pool": worker.pool, "session": worker.session, "now": str(now).lower()}
    async with audited(desk.log, actor, "workers.drain", target=worker_id, reason=reason, detail=detail) as action:
        came = await _drained(desk, worker, now=now, wait_s=wait_s)
        action.detail["outcome"] = "gone" if came.gone else "told" if came.told else "not told yet"
    return came


async def _drained(desk: Desk, worker: Heard, *, now: bool, wait_s: float | None) -> Drained:
    orders = await _ends(desk, ASSIGNMENTS.name, worker.worker_id)
    words = await _ends(desk, DISPATCH.name, worker.pool)
    order = DrainWorker(command_id=str(uuid4()), pool=worker.pool, worker_id=worker.worker_id, now=now)
    await desk.log.append(encode(order, source=SOURCE, at=now_ms()))
    told = await _heard(desk, ASSIGNMENTS.name, orders, lambda it: _is_order(it, worker), desks.ANSWER_WITHIN_S)
    name = worker.worker_id
    if not told:
        late = f"Recorded, but no scheduler has told {name} in time: it will when `openv streams` runs, if it knows it."
        return Drained(worker, told=False, gone=False, words=late)
    if wait_s is None:
        ends = "hands back what it runs and ends" if now else "ends once it has finished what it runs"
        return Drained(worker, told=True, gone=False, words=f"{name} is told: it takes no more jobs, and {ends}.")
    gone = await _heard(desk, DISPATCH.name, words, lambda it: _is_farewell(it, worker), wait_s)
    if gone:
        return Drained(worker, told=True, gone=True, words=f"{name} is gone.")
    return Drained(worker, told=True, gone=False, words=f"{name} is told, and not gone after {wait_s:g} s.")


def _is_order(message: Message, worker: Heard) -> bool:
    return isinstance(message, DrainSession) and message.worker_id == worker.worker_id


def _is_farewell(message: Message, worker: Heard) -> bool:
    """Also a later session: whatever supervises the worker has started it anew."""
    if isinstance(message, WorkerGone):
        return (message.worker_id, message.session) == (worker.worker_id, worker.session)
    return (
        isinstance(message, WorkerBeat) and message.worker_id == worker.worker_id and message.session != worker.session
    )


async def _ends(desk: Desk, topic: str, key: str) -> Mapping[int, int]:
    partition = desk.log.partition_of(topic, key.encode())
    return {partition: (await desk.log.ends(topic))[partition]}


async def _heard(
    desk: Desk, topic: str, start: Mapping[int, int], wanted: Callable[[Message], bool], within_s: float
) -> bool:
    """Whether such a message came in time."""
    tail = desk.log.tail(topic, start)
    async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
        try:
            async with asyncio.timeout(within_s):
                async for batch in batches:
                    for record in batch:
                        message = decode(record)
                        if not isinstance(message, Unreadable) and wanted(message):
                            return True
        except TimeoutError:
            pass
    return False
