"""A gateway over memory twins, with a ledger that decides simply: what the tests of the shell run against."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from starlette.applications import Starlette

from gateway.app import create_app
from gateway.identity.keys import new_key
from gateway.parts import Parts
from gateway.settings import GatewaySettings
from repo.clock import now_ms
from repo.memory import MemoryDatabase, MemoryEventLog, MemoryJobStore, MemoryObjectStore
from repo.stores import ObjectStores
from schemas.accounts import Role
from schemas.codec import Message, decode, encode
from schemas.commands import AccountCommand, AskUsage, AttemptReport, CancelJob, DeleteJob, RetryJob, SubmitJob
from schemas.events import CommandAnswered, JobEvent, Outcome
from schemas.failures import FailureCode
from schemas.jobs import Charge, ChargeState, Job, Output, Remaining, StoredFile
from schemas.lifecycle import ACTIVE, State
from schemas.requests import GenerationRequest
from schemas.topics import COMMANDS, EVENTS
from streams.core.effects import UserView
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy
from streams.perform import announce, messages_of, write
from tests.gateway import spec_check

ORIGIN = "http://videos.test"
DEADLINE_S = 10.0
REMAINING = Remaining(
    limit_seconds=600,
    used_seconds=1.25,
    remaining_seconds=598.75,
    period_start=0,
    period_end=None,
    active=1,
    max_active=3,
)


def settings(**changes: Any) -> GatewaySettings:
    """Short waits, so that tests of what happens after them need not wait long."""
    given = {"decision_timeout_seconds": 2.0, "append_margin_seconds": 0.2, "public_url": ORIGIN} | changes
    return GatewaySettings(**given)


def job(job_id: str, user_id: str = "ada", state: State = State.QUEUED, *, at: int = 1_000, **changes: Any) -> Job:
    """A job document; ``at`` is when it was created and changed, in ms."""
    request = GenerationRequest(prompt=f"prompt of {job_id}")
    made = Job(
        job_id=job_id,
        user_id=user_id,
        pool="mochi-1",
        state=state,
        version=1,
        request=request,
        request_hash="h",
        charge=Charge(state=ChargeState.RESERVED, seconds=request.seconds, reserved_at=at),
        created_at=at,
        updated_at=at,
        due_at=at,
        expires_at=at + 86_400_000,
        execution_timeout_ms=3_600_000,
    )
    return replace(made, **changes)


def with_files(made: Job) -> Job:
    """The same job, completed, with a video and a poster and no thumbnail."""
    video = StoredFile(key=f"{made.user_id}/videos/{made.job_id}.mp4", bytes=3, sha256="0" * 64, media_type="video/mp4")
    poster = StoredFile(key=f"{made.user_id}/p/{made.job_id}.jpg", bytes=3, sha256="0" * 64, media_type="image/jpeg")
    return replace(made, state=State.COMPLETED, output=Output(video=video, poster=poster))


@dataclass
class FakeLedger:
    """Answers commands as the real one would, but decides by the members below."""

    log: MemoryEventLog
    store: MemoryJobStore
    refuse: FailureCode | None = None
    remaining: Remaining = REMAINING
    silent: bool = False
    damaged: bool = False
    heard: list[Message] = field(default_factory=list)

    async def run(self) -> None:
        async for batch in self.log.tail(COMMANDS.name, dict.fromkeys(range(COMMANDS.partitions), 0)):
            for record in batch:
                message = decode(record)
                self.heard.append(message)
                if self.silent or isinstance(message, AttemptReport):
                    continue
                if self.damaged:
                    await self.announce_set_aside(message)
                    continue
                if isinstance(message, AccountCommand):
                    await self.decide_account(message)
                    continue
                assert isinstance(message, SubmitJob | CancelJob | DeleteJob | RetryJob | AskUsage), message
                if isinstance(message, AskUsage):
                    await self.answer(message, Outcome.UNCHANGED)
                else:
                    await self.decide(message)

    async def announce_set_aside(self, command: Any) -> None:
        """As the real one does where a job of the user's can't be read."""
        answer = CommandAnswered(command_id=command.command_id, user_id=command.user_id, outcome=Outcome.SET_ASIDE)
        await self.log.append(encode(answer, source="/test", at=now_ms()))

    async def decide(self, command: SubmitJob | CancelJob | DeleteJob | RetryJob) -> None:
        known = await self.store.job(command.job_id)
        match command:
            case SubmitJob() if self.refuse is not None:
                await self.answer(command, Outcome.REFUSED, code=self.refuse)
            case SubmitJob() if known is not None and known.request_hash != command.request_hash:
                await self.answer(command, Outcome.REFUSED, code=FailureCode.KEY_REUSED)
            case SubmitJob() if known is None:
                made = job(command.job_id, command.user_id, at=now_ms(), request=command.request)
                told = ("request_hash", "pool", "endpoint", "external", "webhook", "priority")
                await self.write(replace(made, **{name: getattr(command, name) for name in told}))
                await self.answer(command, Outcome.ADMITTED, version=made.version)
            case SubmitJob():
                await self.answer(command, Outcome.ADMITTED)
            case _ if known is None or known.user_id != command.user_id:
                await self.answer(command, Outcome.NOT_FOUND)
            case CancelJob() if known.state in ACTIVE and not (command.queued_only and known.state is not State.QUEUED):
                await self.move(command, known, state=State.CANCELLED)
            case DeleteJob():
                await self.move(command, known, state=State.DELETED)
            case RetryJob() if known.state not in ACTIVE and known.run == command.run:
                await self.move(command, known, Outcome.ADMITTED, state=State.QUEUED, run=known.run + 1)
            case _:
                await self.answer(command, Outcome.UNCHANGED)

    async def decide_account(self, command: AccountCommand) -> None:
        """As the real ledger does."""
        while True:
            account = await self.store.account(command.user_id) or new_account(command.user_id)
            jobs = {one.job_id: one for one in await self.store.jobs_of(command.user_id, limit=500)}
            now = now_ms()
            decision = decide(UserView(account, jobs), command, now, Policy(), now)
            assert await write(self.store, decision)
            if not decision.again:
                await announce(self.log, messages_of(decision), source="/test", at=now)
                return

    async def move(self, command: Any, known: Job, outcome: Outcome = Outcome.DONE, **changes: Any) -> None:
        await self.write(replace(known, version=known.version + 1, updated_at=now_ms(), **changes))
        await self.answer(command, outcome)

    async def write(self, made: Job) -> int:
        """Store the document, then announce it; the offset of the event."""
        assert await self.store.store_job(made, made.version - 1)
        return await self.announce(made)

    async def announce(self, made: Job) -> int:
        return (await self.log.append(encode(JobEvent(made), source="/test", at=now_ms()))).offset

    async def answer(
        self, command: Any, outcome: Outcome, code: FailureCode | None = None, version: int | None = None
    ) -> None:
        answer = CommandAnswered(
            command_id=command.command_id,
            user_id=command.user_id,
            outcome=outcome,
            version=version,
            job_id=getattr(command, "job_id", None),
            code=code,
            remaining=self.remaining if isinstance(command, SubmitJob | RetryJob | AskUsage) else None,
        )
        await self.log.append(encode(answer, source="/test", at=now_ms()))


@dataclass
class World:
    """Everything a test may touch."""

    log: MemoryEventLog
    database: MemoryDatabase
    objects: MemoryObjectStore
    ledger: FakeLedger
    app: Starlette

    @property
    def store(self) -> MemoryJobStore:
        return self.database.jobs

    @property
    def parts(self) -> Parts:
        made: Parts = self.app.state.parts
        return made

    async def key(self, user_id: str = "ada", **how: Any) -> str:
        """A fresh API key of this user."""
        secret, stored = new_key(user_id, now=now_ms(), **{"role": Role.USER, **how})
        await self.database.access.store_api_key(stored)
        return secret

    @asynccontextmanager
    async def client(self, user_id: str | None = "ada", **how: Any) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client of this user (None: of nobody), without a network."""
        headers = {"Authorization": f"Bearer {await self.key(user_id, **how)}"} if user_id is not None else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        # Whatever a test asks, the answer must be one that the OpenAPI document knows.
        hooks = {"response": [spec_check.check]}
        async with httpx.AsyncClient(
            transport=transport, base_url=ORIGIN, headers=headers, event_hooks=hooks
        ) as client:
            yield client

    @contextmanager
    def kafka_away(self) -> Iterator[None]:
        self.log.away = True
        try:
            yield
        finally:
            self.log.away = False


@asynccontextmanager
async def started(
    gateway_settings: GatewaySettings | None = None,
    *,
    now: Callable[[], int] = now_ms,
    world: World | None = None,
    fallback: MemoryObjectStore | None = None,
) -> AsyncIterator[World]:
    """A world with its gateway running; with ``world``: another gateway over the same servers and ledger."""
    log = world.log if world else MemoryEventLog()
    database = world.database if world else MemoryDatabase()
    objects = world.objects if world else MemoryObjectStore()
    ledger = world.ledger if world else FakeLedger(log, database.jobs)
    stores = ObjectStores(objects, fallback)
    app = create_app(log, database, stores, gateway_settings or settings(), now)
    deciding = asyncio.create_task(ledger.run()) if world is None else None
    try:
        async with app.router.lifespan_context(app):
            made = World(log, database, objects, ledger, app)
            if not log.away:
                await until(lambda: made.parts.feed.caught_up and not made.parts.probes.missing())
            yield made
    finally:
        if deciding is not None:
            deciding.cancel()
            with suppress(asyncio.CancelledError):
                await deciding


async def until(true: Callable[[], Any], deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(deadline_s):
        while not true():  # noqa: ASYNC110 -- any condition, not only one that somebody signals
            await asyncio.sleep(0.005)


async def eventually(ask: Callable[[], Awaitable[Any]], deadline_s: float = DEADLINE_S) -> Any:
    """The first answer that is true."""
    async with asyncio.timeout(deadline_s):
        while not (found := await ask()):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.02)
        return found


def events(log: MemoryEventLog) -> int:
    """How many events there are."""
    return len(log.records(EVENTS.name))
