"""``/workers`` and ``/pools``: who works, what waits; drain a worker. The work is in ``operations/workers``."""

from typing import Annotated

from pydantic import Field

from operations.admin.answers import DrainedView, Pools, Workers, WorkerView
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation, found, named
from operations.admin.refusals import Problem, Refused
from operations.core.roster import Heard
from operations.workers.drain import drain
from operations.workers.roster import pools, workers
from operations.workers.views import drained_plain, pool_plain, worker_plain
from schemas.ids import WORDS_MAX

P = Problem
PoolName = Annotated[str, Field(min_length=1, max_length=128)]


class WantedWorkers(Asked):
    """``gone``: also those that have said farewell."""

    pool: PoolName | None = None
    gone: bool = False


class OfPool(Asked):
    """``pool``: needed where two pools have a worker of that id."""

    pool: PoolName | None = None


class Drain(OfPool):
    """``now``: it hands back what it runs, instead of finishing it. ``reason`` is kept in the audit."""

    now: bool = False
    reason: str = Field(default="", max_length=WORDS_MAX)


async def list_workers(call: Call[WantedWorkers, Nothing]) -> Answer:
    async with call.tools.reading.turn():
        heard = await workers(call.desk, pool=call.query.pool)
    shown = [worker_plain(one) for one in heard.heard if call.query.gone or not one.gone]
    return Answer({"workers": shown, **({} if heard.gap is None else {"gap": heard.gap})})


async def show_worker(call: Call[OfPool, Nothing]) -> Answer:
    async with call.tools.reading.turn():
        return Answer(worker_plain(await _one(call, call.query.pool)))


async def drain_worker(call: Call[Nothing, Drain]) -> Answer:
    """Answered once the scheduler has told it; 202 where that was not seen in time."""
    asked = call.body
    async with call.tools.reading.turn():
        worker = await _one(call, asked.pool)
    came = await drain(
        call.desk, call.actor, worker.worker_id, pool=worker.pool, now=asked.now, wait_s=None, reason=asked.reason
    )
    return Answer(drained_plain(came), 200 if came.told else 202)


async def list_pools(call: Call[Nothing, Nothing]) -> Answer:
    async with call.tools.reading.turn():
        return Answer({"pools": [pool_plain(one) for one in await pools(call.desk)]})


async def _one(call: Call[Nothing, Drain] | Call[OfPool, Nothing], pool: str | None) -> Heard:
    """Raises ``Refused``: 404, or 409 where more than one pool has such a worker."""
    worker_id = named(call, "worker_id", lambda text: 0 < len(text) <= 128)
    those = [one for one in (await workers(call.desk, pool=pool)).heard if one.worker_id == worker_id]
    if len(those) > 1:
        raise Refused(P.REFUSED, words="More than one pool has a worker of that id: say which.")
    one: Heard = found(those[0] if those else None)
    return one


OPERATIONS = (
    Operation(
        method="get",
        path="/workers",
        name="listWorkers",
        tag="Workers",
        summary="Who was heard in the last two minutes",
        query=WantedWorkers,
        reply=Workers,
        problems=(P.BUSY,),
        handler=list_workers,
    ),
    Operation(
        method="get",
        path="/workers/{worker_id}",
        name="getWorker",
        tag="Workers",
        summary="One worker",
        query=OfPool,
        reply=WorkerView,
        problems=(P.NOT_FOUND, P.REFUSED, P.BUSY),
        handler=show_worker,
    ),
    Operation(
        method="post",
        path="/workers/{worker_id}/drain",
        name="drainWorker",
        tag="Workers",
        summary="Take it out of service: it finishes what it runs, or hands it back, and ends",
        words="202: recorded, and no scheduler has told it in time; it is told when one runs.",
        action="workers.drain",
        body=Drain,
        reply=DrainedView,
        statuses=(200, 202),
        problems=(P.NOT_FOUND, P.BUSY),
        handler=drain_worker,
    ),
    Operation(
        method="get",
        path="/pools",
        name="listPools",
        tag="Workers",
        summary="Every queue: what waits and runs, and its workers by what they do",
        reply=Pools,
        problems=(P.BUSY,),
        handler=list_pools,
    ),
)
