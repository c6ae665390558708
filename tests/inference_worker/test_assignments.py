"""Where a worker reads its orders, and which it hands on."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from inference_worker.assignments import Order, end_of_orders, follow_orders
from repo.memory import MemoryEventLog
from schemas.codec import encode
from schemas.dispatch import StopAttempt
from tests.inference_worker.parent_world import order, send, until


async def test_everything_after_the_end_that_is_meant_for_this_id_once_in_order() -> None:
    log, taken = MemoryEventLog(), list[Order]()
    await send(log, order("too old"))
    start = await end_of_orders(log, "w1")
    assert start.partition == log.partition_of("openv.assignments", b"w1")
    following = asyncio.create_task(follow_orders(log, start, "w1", taken.append))
    readable = encode(order("spoilt"), source="/scheduler", at=0)
    await log.append(replace(readable, value=b"{}"))
    for number in range(40):
        await send(log, order("another's", worker_id=f"x{number}"))
    await send(log, order("j1"))
    stop = StopAttempt(worker_id="w1", session="s0", job_id="j1", attempt=1)
    await send(log, stop)
    await until(lambda: len(taken) == 2, "two orders")
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert taken == [order("j1"), stop]
