"""A worker that has had a job and asks again while the gateway's clock still remembers who it was before."""

import asyncio

from schemas.dispatch import WorkerState
from tests.gateway.workers.pool import Pool, external_job


async def test_who_waits_is_not_forgotten_together_with_who_it_was_before(pool: Pool) -> None:
    known = pool.world.parts.workers.room.pods
    await pool.taken(external_job("j-1"))
    before = known._seating.pods["echo", "pod-1"]
    assert (await pool.done("j-1", {"output": 1})).status_code == 200
    poll = pool.take()
    beat = (await pool.ready(2))[-1]
    before.tick(asyncio.get_running_loop().time() + 60)  # as the wheel does when it has been kept for long enough
    await pool.order(beat, external_job("j-2"))
    answer = await poll
    assert answer.json()["id"] == "j-2"
    assert pool.declined() == []
    assert not pool.beats(WorkerState.DEFUNCT)
