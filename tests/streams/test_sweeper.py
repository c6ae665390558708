"""The sweeper: what is kept too long is told to the ledger once, in bounded rounds; the ledger deletes it."""

from dataclasses import replace
from typing import Any

import pytest

from repo.core.documents import DamagedDocumentError
from repo.memory import MemoryDatabase, MemoryEventLog
from repo.ports import Unavailable
from schemas.chunks import Bundle, Chunks
from schemas.codec import decode
from schemas.commands import DeleteJob
from schemas.endpoints import DAY, EndpointKind, ServerlessEndpoint, external_pool
from schemas.jobs import Charge, ChargeState, Job, Output
from schemas.lifecycle import ACTIVE, State
from schemas.requests import external_request
from schemas.topics import COMMANDS
from streams.board import Board
from streams.core.policy import Policy
from streams.ledger import Ledger
from streams.patience import Patience
from streams.settings import Role
from streams.sweeper import AGAIN_MS, PAGE, ROUND, Sweeper
from streams.vitals import new_vitals

NOW = 1_790_000_000_000
ENDED = tuple(set(State) - ACTIVE - {State.DELETED})


class Kept:
    """One deployment's database and log, of which any number of processes sweep."""

    def __init__(self) -> None:
        self.now = NOW
        self.database = MemoryDatabase()
        self.log = MemoryEventLog(clock=lambda: self.now)
        self.board = Board(new_vitals((Role.JANITOR,)), ready=lambda _: None, waiting=lambda _: None)
        self.sweeper = self.another()
        self.read = 0

    def another(self) -> Sweeper:
        patience = Patience(Role.JANITOR, self.board)
        return Sweeper(self.database.jobs, self.database.endpoints, self.log, patience, lambda: self.now)

    async def endpoint(self, endpoint_id: str = "echo", **changes: Any) -> None:
        made = ServerlessEndpoint(
            endpoint_id=endpoint_id,
            kind=EndpointKind.EXTERNAL,
            pool=external_pool(endpoint_id),
            version=1,
            created_at=1,
            updated_at=1,
        )
        assert await self.database.endpoints.store_endpoint(replace(made, **changes), 0)

    async def job(self, job_id: str = "j1", **changes: Any) -> Job:
        base = Job(
            job_id=job_id,
            user_id="ann",
            pool=external_pool("echo"),
            state=State.COMPLETED,
            version=2,
            request=external_request(text='{"input":"secret words"}'),
            request_hash="h",
            charge=Charge(state=ChargeState.CAPTURED, seconds=0.0, reserved_at=NOW - 3 * DAY),
            created_at=NOW - 3 * DAY,
            updated_at=NOW - DAY,
            due_at=1,
            expires_at=2,
            execution_timeout_ms=1,
            endpoint="echo",
            external=True,
            finished_at=NOW - DAY,
            output=Output(value='{"output":1}'),
        )
        made = replace(base, **changes)
        assert await self.database.jobs.store_job(made, 0)
        return made

    async def sent(self) -> list[str]:
        """The jobs of the commands that came since the last time, the ledger having done none of them."""
        records = [
            record
            for partition in range(COMMANDS.partitions)
            for record in await self.log.read(COMMANDS.name, partition, 0, 100_000)
        ]
        commands = [decode(record) for record in records]
        assert all(isinstance(one, DeleteJob) and one.ended_by is not None for one in commands)
        new, self.read = commands[self.read :], len(commands)
        return [one.job_id for one in new if isinstance(one, DeleteJob)]

    async def decide(self) -> None:
        """What the ledger makes of all commands that there are; read again, they change nothing more."""
        ledger = Ledger(self.database.jobs, self.log, Policy(), clock=lambda: self.now)
        for partition in range(COMMANDS.partitions):
            for record in await self.log.read(COMMANDS.name, partition, 0, 100_000):
                await ledger.handle(decode(record), record, 1)  # type: ignore[arg-type]

    async def state(self, job_id: str = "j1") -> State:
        job = await self.database.jobs.job(job_id)
        assert job is not None
        return job.state


@pytest.fixture
async def kept() -> Kept:
    made = Kept()
    await made.endpoint()
    return made


@pytest.mark.parametrize("state", ENDED)
async def test_an_external_job_is_kept_for_a_day_whatever_its_end_was(kept: Kept, state: State) -> None:
    await kept.job(state=state, finished_at=NOW - DAY + 1)
    assert await kept.sweeper.sweep() is False
    assert await kept.sent() == []
    kept.now += 1
    await kept.sweeper.sweep()
    await kept.decide()
    job = await kept.database.jobs.job("j1")
    assert job is not None
    assert (job.state, job.request.input, job.output, job.finished_at) == (State.DELETED, None, None, NOW - DAY + 1)
    kept.now += AGAIN_MS
    await kept.sent()
    await kept.sweeper.sweep()
    assert await kept.sent() == []


async def test_a_result_that_can_be_asked_for_longer_is_kept_longer(kept: Kept) -> None:
    await kept.endpoint("patient", result_ms=9 * DAY, deleted_at=5)
    await kept.job(endpoint="patient", finished_at=NOW - 9 * DAY + 1)
    await kept.sweeper.sweep()
    assert await kept.sent() == []
    kept.now += 1
    await kept.sweeper.sweep()
    assert await kept.sent() == ["j1"], "an endpoint that was deleted still has jobs"


async def test_videos_and_what_goes_on_are_nobodys_but_their_users(kept: Kept) -> None:
    for number, state in enumerate(ENDED):
        if state is not State.REJECTED:
            await kept.job(f"v{number}", state=state, external=False, endpoint="mochi-1")
        await kept.job(f"w{number}", state=state, external=False, endpoint=None)
    for number, state in enumerate((*ACTIVE, State.DELETED)):
        await kept.job(f"a{number}", state=state)
    await kept.job("refused", state=State.REJECTED, external=False, endpoint="mochi-1")
    await kept.sweeper.sweep()
    assert await kept.sent() == ["refused"], "its input may lie in the object store, and nobody sees it"


async def test_two_processes_are_harmless(kept: Kept) -> None:
    await kept.job()
    await kept.sweeper.sweep()
    await kept.another().sweep()
    records = [r for p in range(COMMANDS.partitions) for r in await kept.log.read(COMMANDS.name, p, 0, 9)]
    assert len(records) == 2
    assert decode(records[0]) == decode(records[1])
    await kept.decide()
    job = await kept.database.jobs.job("j1")
    assert job is not None
    assert (job.state, job.version) == (State.DELETED, 3)


async def test_a_run_that_began_meanwhile_goes_on(kept: Kept) -> None:
    job = await kept.job(state=State.FAILED)
    await kept.sweeper.sweep()
    again = replace(job, state=State.QUEUED, run=2, version=3, finished_at=None, pool=external_pool("echo"))
    assert await kept.database.jobs.store_job(again, 2)
    await kept.decide()
    assert await kept.state() is State.QUEUED
    over = replace(again, state=State.COMPLETED, version=4, finished_at=NOW)
    assert await kept.database.jobs.store_job(over, 3)
    await kept.decide()
    assert await kept.state() is State.COMPLETED, "it ended later than what was to be deleted"


async def test_a_round_is_bounded_and_every_endpoint_has_its_turn(kept: Kept) -> None:
    names = ["echo", *(f"e{number}" for number in range(4))]
    for name in names:
        if name != "echo":
            await kept.endpoint(name)
        for number in range(PAGE + 1):
            await kept.job(f"{name}-{number}", endpoint=name)
    counts = []
    for _ in range(9):
        more = await kept.sweeper.sweep()
        counts.append(len(await kept.sent()))
        await kept.decide()
        if not more:
            break
    assert counts[0] == ROUND
    assert sum(counts) == len(names) * (PAGE + 1)
    states = [await kept.state(f"{name}-{number}") for name in names for number in range(PAGE + 1)]
    assert set(states) == {State.DELETED}


async def test_while_the_ledger_is_behind_nothing_is_said_twice_for_a_while(kept: Kept) -> None:
    await kept.job()
    await kept.sweeper.sweep()
    assert await kept.sent() == ["j1"]
    kept.now += AGAIN_MS - 1
    assert await kept.sweeper.sweep() is False
    assert await kept.sent() == []
    kept.now += 1
    await kept.sweeper.sweep()
    assert await kept.sent() == ["j1"]


async def test_an_endpoint_whose_jobs_cannot_be_read_holds_up_no_other(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.endpoint("damaged")
    await kept.job()
    ask = kept.database.jobs.ended_jobs

    async def ended_jobs(endpoint_id: str, *arguments: Any, **how: Any) -> list[Job]:
        if endpoint_id == "damaged":
            raise DamagedDocumentError("Job 'x'")
        return await ask(endpoint_id, *arguments, **how)

    monkeypatch.setattr(kept.database.jobs, "ended_jobs", ended_jobs)
    await kept.sweeper.sweep()
    assert await kept.sent() == ["j1"]


async def test_servers_that_are_away_are_waited_for(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    await kept.job()
    store, log = kept.database.endpoints, kept.log
    sweep_chunks, append_all = store.sweep_chunks, log.append_all
    tries = {"mongodb": 0, "kafka": 0}

    async def sweep_later(now: int) -> int:
        tries["mongodb"] += 1
        if tries["mongodb"] == 1:
            raise Unavailable("mongodb", "away")
        return await sweep_chunks(now)

    async def append_later(messages: Any) -> Any:
        tries["kafka"] += 1
        if tries["kafka"] == 1:
            raise Unavailable("kafka", "away")
        return await append_all(messages)

    monkeypatch.setattr(store, "sweep_chunks", sweep_later)
    monkeypatch.setattr(log, "append_all", append_later)
    await kept.sweeper.sweep()
    assert tries == {"mongodb": 2, "kafka": 2}
    assert await kept.sent() == ["j1"]


async def test_chunks_that_nobody_took_go_when_their_time_is_over(kept: Kept) -> None:
    store = kept.database.endpoints
    for job_id, at in (("old", NOW), ("new", NOW + 1)):
        await store.store_chunks(Chunks(job_id=job_id, attempt=1, version=1, delete_at=at, waiting=("1",)), 0)
        await store.store_bundle(Bundle(bundle_id=job_id, job_id=job_id, delete_at=at, texts=("1",)))
    await kept.sweeper.sweep()
    assert await store.chunks("old") is None
    assert await store.chunks("new") is not None
    assert [one.job_id for one in await store.bundles(["old", "new"])] == ["new"]
