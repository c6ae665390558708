"""What goes on while MongoDB is away: commands of many users, requests over HTTP, and a worker that renders."""

import asyncio
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import httpx

from schemas.codec import Unreadable, decode
from schemas.commands import AnyCommand, AttemptStarted, AttemptSucceeded, CancelJob, DeleteJob, RetryJob, SubmitJob
from schemas.dispatch import RunAttempt, WorkerBeat, WorkerState
from schemas.jobs import Output
from schemas.topics import ASSIGNMENTS
from tests.outages.mongo_world import PATIENCE_S, World
from tests.streams.streams_process import eventually
from tests.streams.submissions import Ear, new_id, send, submission

NOBODY_RENDERS = "pool-without-workers"
SHORT_TTL_MS = 8_000
BEAT_EVERY_S = 2.0


def words_of(user_id: str) -> list[AnyCommand]:
    """What one user and a worker say, in an order that matters: swapped, lost or doubled, the documents differ."""
    first, second, third, fourth = (submission(user_id, NOBODY_RENDERS) for _ in range(4))

    def about(job: SubmitJob) -> dict[str, Any]:
        return {"command_id": new_id(), "user_id": user_id, "job_id": job.job_id}

    report = {"attempt": 1, "worker_id": "w1"}
    return [
        first,
        second,
        CancelJob(**about(first)),
        replace(first, command_id=new_id()),
        AttemptStarted(**about(second), **report),
        RetryJob(**about(first), run=1, append_by=first.append_by),
        third,
        AttemptSucceeded(**about(second), **report, output=Output(width=848)),
        DeleteJob(**about(third)),
        CancelJob(**about(second)),
        fourth,
        CancelJob(**about(first), run=1),
    ]


class Load:
    """Commands straight into the log: half of every user's ``before``, half ``during`` the outage."""

    def __init__(self, world: World, users: int = 10) -> None:
        self._world = world
        ids = [new_id("user-") for _ in range(users)]
        world.users |= set(ids)
        said = [words_of(user_id) for user_id in ids]
        self.before = [command for turn in zip(*(words[:6] for words in said), strict=True) for command in turn]
        self.during = [command for turn in zip(*(words[6:] for words in said), strict=True) for command in turn]
        expires = new_id("expires-")
        self.expires = submission(expires, NOBODY_RENDERS, ttl_ms=SHORT_TTL_MS)
        self.lives = submission(expires, NOBODY_RENDERS, ttl_ms=3_600_000)
        world.users.add(expires)

    async def begin(self) -> None:
        """One job that will expire while MongoDB is away; the first half is on its way when this returns."""
        await send(self._world.log, self.expires)

        async def is_stored() -> bool:
            return await self._world.store.job(self.expires.job_id) is not None

        await eventually(is_stored, PATIENCE_S, what="the job that is to expire is stored")
        await send(self._world.log, *self.before)

    async def go_on(self) -> None:
        """The second half."""
        await send(self._world.log, self.lives, *self.during)


@dataclass
class Requests:
    """What clients of the gateway were told while MongoDB was away. ``promised``: job ids that were said to be queued;
    ``refused``: Idempotency-Keys of submissions that were said not to be recorded.
    """

    world: World
    promised: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    async def known_job(self) -> str:
        """A job of the user, decided while all is well. The gateway knows the user's key then."""
        async with self.world.http() as http:
            answer = await http.post("/api/runpod", json=_BODY)
            assert answer.status_code in (200, 202), answer.text
            job_id = str(answer.json()["jobId"])
            await eventually(lambda: _is_there(http, job_id), PATIENCE_S, what="the first job is decided")
            return job_id

    async def submit(self, http: httpx.AsyncClient) -> int:
        """The status; 202 must be kept, 503 must not have been recorded."""
        key = new_id("key-")
        answer = await self._timed(http.post("/api/runpod", json=_BODY, headers={"Idempotency-Key": key}))
        assert answer.status_code in (202, 503), f"{answer.status_code}: {answer.text}"
        if answer.status_code == 202:
            assert answer.json()["status"] == "queued"
            self.promised.append(answer.json()["jobId"])
        else:
            assert "retry-after" in answer.headers
            self.refused.append(key)
        return answer.status_code

    async def reads_refused(self, http: httpx.AsyncClient, job_id: str, times: int = 1) -> None:
        """Reads are 503, all of them soon (the client would give up), with the server's name and when to come again."""
        paths = ["/api/videos", f"/api/runpod/{job_id}", f"/api/videos/{job_id}/video"] * times
        for answer in await asyncio.gather(*(self._timed(http.get(path)) for path in paths)):
            assert answer.status_code == 503, f"{answer.request.url}: {answer.status_code} {answer.text}"
            assert answer.json()["missing"] == ["mongodb"]
            assert int(answer.headers["retry-after"]) > 0

    async def readiness(self, http: httpx.AsyncClient, missing: list[str], within_s: float = PATIENCE_S) -> None:
        """``/readyz`` comes to say so."""

        async def says() -> bool:
            answer = await self._timed(http.get("/readyz"))
            assert (answer.status_code == 200) == (not answer.json()["missing"])
            return bool(answer.json()["missing"] == missing)

        await eventually(says, within_s, what=f"/readyz misses {missing}")

    async def kept(self) -> None:
        """After the outage: what was promised is there, and what was refused can be had with the same key."""
        async with self.world.http() as http:
            for job_id in self.promised:
                await eventually(lambda job_id=job_id: _is_there(http, job_id), PATIENCE_S, what=f"{job_id} is decided")  # type: ignore[misc]
            for key in self.refused:
                answer = await http.post("/api/runpod", json=_BODY, headers={"Idempotency-Key": key})
                assert answer.status_code in (200, 202), answer.text
                job_id = answer.json()["jobId"]
                await eventually(lambda job_id=job_id: _is_there(http, job_id), PATIENCE_S, what=f"{job_id} is decided")  # type: ignore[misc]

    async def _timed(self, asking: Any) -> httpx.Response:
        began = asyncio.get_running_loop().time()
        answer: httpx.Response = await asking
        self.slowest_s = max(self.slowest_s, asyncio.get_running_loop().time() - began)
        return answer


_BODY = {"prompt": "a corgi surfing", "num_frames": 7}


async def _is_there(http: httpx.AsyncClient, job_id: str) -> bool:
    answer = await http.get(f"/api/runpod/{job_id}")
    assert answer.status_code in (200, 404), answer.text
    return answer.status_code == 200


class Renderer:
    """A worker played over Kafka: it is handed one job, starts it, and beats until it is told to finish.

    ``mute = True``: it has died without a word, which must be noticed.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.worker_id, self._pool, self._session = new_id("worker-"), new_id("pool-"), new_id("session-")
        self._sequence = 0
        self._beating: asyncio.Task[None] | None = None
        self.order: RunAttempt | None = None
        self.mute = False
        user = new_id("rendered-")
        world.users.add(user)
        self.job = submission(user, self._pool, max_retries=0)

    async def __aenter__(self) -> Self:
        async with Ear(self._world.log, ASSIGNMENTS.name) as orders:
            await send(self._world.log, self.job)
            self._beating = asyncio.create_task(self._beat())

            async def handed() -> RunAttempt | None:
                messages = [decode(record) for record in orders.records]
                assert not [one for one in messages if isinstance(one, Unreadable)]
                mine = [one for one in messages if isinstance(one, RunAttempt) and one.job_id == self.job.job_id]
                return mine[0] if mine else None

            self.order = await eventually(handed, PATIENCE_S, what="the job is handed to the worker")
        await send(self._world.log, AttemptStarted(**self._named()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def finish(self) -> None:
        """The video is stored."""
        await send(self._world.log, AttemptSucceeded(**self._named(), output=Output(width=848)))

    def _named(self) -> dict[str, Any]:
        assert self.order is not None
        return {
            "command_id": new_id(),
            "user_id": self.job.user_id,
            "job_id": self.job.job_id,
            "attempt": self.order.attempt,
            "worker_id": self.worker_id,
        }

    async def _beat(self) -> None:
        while True:
            if not self.mute:
                await send(self._world.log, self._state())
            await asyncio.sleep(BEAT_EVERY_S)

    def _state(self) -> WorkerBeat:
        self._sequence += 1
        at_work = self.order is not None
        return WorkerBeat(
            pool=self._pool,
            worker_id=self.worker_id,
            session=self._session,
            sequence=self._sequence,
            state=WorkerState.BUSY if at_work else WorkerState.READY,
            job_id=self.job.job_id if at_work else None,
            attempt=self.order.attempt if self.order else None,
        )
