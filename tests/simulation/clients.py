"""What people ask, through gateways: one user each, many wishes, some said twice, some too late, some not theirs.

A gateway appends a command and hears whether it landed; nobody here waits for decisions. Ids are counted, not drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from repo.ports import Unavailable
from schemas.accounts import Overrides, Role
from schemas.codec import encode
from schemas.commands import (
    AnyCommand,
    CancelJob,
    DeleteJob,
    DeleteUser,
    GrantCredits,
    RetryJob,
    SetBlocked,
    SetOverrides,
    SetRole,
    SubmitJob,
)
from schemas.endpoints import EndpointLimits
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from schemas.requests import GenerationRequest, external_request
from tests.simulation.servers import Broker, LogPort
from tests.simulation.world import Process, World

SOURCE = "/openv/gateway"
APPEND_BY_MS = 4_000
LENGTHS = (7, 31, 61, 127)


class Client:
    """One user. ``documents`` is what a gateway reads of MongoDB: the jobs there are."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        user: str,
        pools: list[str],
        documents: dict[str, Job],
        endpoints: Mapping[str, tuple[str, EndpointLimits]],
    ) -> None:
        self.user = user
        self.pause = 500, world.random.choice((3_000, 6_000, 12_000))
        self.process = Process(world, user)
        self._world, self._pools, self._documents = world, pools, documents
        self._endpoints = endpoints
        self._log = LogPort(broker)
        self._commands = 0
        self._jobs: list[SubmitJob] = []
        self._short = world.random.random() < 0.3
        wishes: dict[Callable[[], AnyCommand | None], int] = {
            self._submit: 40,
            self._submit_again: 10,
            self._cancel: 10,
            self._delete: 5,
            self._retry: 16,
            self._not_mine: 3,
            self._delete_early: 1,
            self._grant: 3,
            self._overrides: 2,
            self._role: 2,
            self._block: 1,
        }
        if endpoints:
            wishes |= {self._ask_endpoint: 40, self._purge: 5}
        self._wishes, self._weights = list(wishes), list(wishes.values())
        self.process.spawn(self._live())

    def delete_user(self) -> None:
        """The identity provider's word."""
        command = DeleteUser(command_id=self._id(), user_id=self.user, issued_at=self._world.now)
        self.process.spawn(self._send(command))
        self.process.spawn(self._come_back())

    async def _come_back(self) -> None:
        await self._world.sleep(self._world.between(500, 20_000))
        await self._send(self._role())

    async def _live(self) -> None:
        while True:
            await self._world.sleep(self._world.between(*self.pause))
            wish = self._world.random.choices(self._wishes, self._weights)[0]
            command = wish()
            if command is not None:
                self.process.spawn(self._send(command))

    async def _send(self, command: AnyCommand) -> None:
        """503 where it is not known to have landed; half of the clients then say the very same again."""
        words = type(command).__name__
        self._world.note(self.user, "asks", command.subject, f"{words} {command.command_id}")
        for _ in range(3):
            try:
                await self._log.append(encode(command, source=SOURCE, at=self._world.now))
            except Unavailable:
                if self._world.random.random() < 0.5:
                    return
                await self._world.sleep(self._world.between(100, 3_000))
                continue
            if self._world.random.random() < 0.9:
                return

    def _id(self) -> str:
        self._commands += 1
        return f"{self.user}-c{self._commands}"

    def _deadline(self) -> int:
        return self._world.now + (APPEND_BY_MS if self._world.random.random() < 0.95 else 3)

    def _submit(self) -> SubmitJob:
        random = self._world.random
        frames = random.choice(LENGTHS)
        command = SubmitJob(
            command_id=self._id(),
            user_id=self.user,
            job_id=f"{self.user}-j{len(self._jobs) + 1}",
            pool=random.choice(self._pools),
            request=GenerationRequest(prompt="a corgi", num_frames=frames),
            request_hash=f"h{frames}",
            append_by=self._deadline(),
            priority=random.choice((0, 0, 0, 1)),
            ttl_ms=random.choice((3_000, 30_000)) if self._short and random.random() < 0.4 else None,
            execution_timeout_ms=6_000 if random.random() < 0.1 else None,
            max_retries=random.choice((None, None, 0, 1)),
        )
        self._jobs.append(command)
        return command

    def _ask_endpoint(self) -> SubmitJob:
        """By its limits, and by what they are then."""
        random = self._world.random
        name = random.choice(list(self._endpoints))
        pool, limits = self._endpoints[name]
        asked = replace(self._submit(), pool=pool, endpoint=name, limits=limits, priority=random.choice((0, 0, -1)))
        if pool not in self._pools:
            asked = replace(asked, external=True, request=external_request(text='{"input":1}'), request_hash="h")
        self._jobs[-1] = asked
        return asked

    def _purge(self) -> CancelJob | None:
        """One of those that wait on an endpoint, or did a moment ago."""
        job = self._pick(lambda job: job.endpoint is not None and job.state in ACTIVE)
        if job is None:
            return None
        return CancelJob(command_id=self._id(), user_id=self.user, job_id=job.job_id, queued_only=True)

    def _submit_again(self) -> SubmitJob | None:
        """The same Idempotency-Key: the same request, or another one."""
        if not self._jobs:
            return None
        before = self._world.random.choice(self._jobs[-5:])
        other = self._world.random.random() < 0.2
        return replace(
            before,
            command_id=self._id(),
            append_by=self._deadline(),
            request_hash="another" if other else before.request_hash,
        )

    def _cancel(self) -> CancelJob | None:
        job = self._pick(lambda job: job.state in ACTIVE or self._world.random.random() < 0.1)
        if job is None:
            return None
        run = None if self._world.random.random() < 0.5 else job.run
        return CancelJob(command_id=self._id(), user_id=self.user, job_id=job.job_id, run=run)

    def _delete(self) -> DeleteJob | None:
        job = self._pick(lambda job: job.state is not State.DELETED)
        if job is None:
            return None
        return DeleteJob(command_id=self._id(), user_id=self.user, job_id=job.job_id)

    def _delete_early(self) -> DeleteJob:
        """Of the job that will come next."""
        return DeleteJob(command_id=self._id(), user_id=self.user, job_id=f"{self.user}-j{len(self._jobs) + 1}")

    def _retry(self) -> RetryJob | None:
        ended = (State.FAILED, State.CANCELLED, State.TIMED_OUT)
        job = self._pick(lambda job: job.state in ended or self._world.random.random() < 0.1)
        if job is None:
            return None
        return RetryJob(
            command_id=self._id(), user_id=self.user, job_id=job.job_id, run=job.run, append_by=self._deadline()
        )

    def _not_mine(self) -> AnyCommand | None:
        theirs = [job for job in self._documents.values() if job.user_id != self.user]
        if not theirs:
            return None
        job = self._world.random.choice(theirs)
        if self._world.random.random() < 0.3:
            return replace(self._submit(), job_id=job.job_id)
        kind = self._world.random.choice((CancelJob, DeleteJob))
        return kind(command_id=self._id(), user_id=self.user, job_id=job.job_id)

    def _grant(self) -> GrantCredits:
        now, random = self._world.now, self._world.random
        return GrantCredits(
            command_id=self._id(),
            user_id=self.user,
            grant_id=f"g{random.randint(1, 8)}",
            credits=float(random.choice((5, 10, -2))),
            expires_at=now + random.randint(5_000, 100_000) if random.random() < 0.3 else None,
        )

    def _overrides(self) -> SetOverrides:
        random = self._world.random
        overrides = Overrides(
            monthly_limit_seconds=random.choice((None, 10.0, 100.0)),
            max_active=random.choice((None, 1, 5)),
            rate_limit=random.choice((None, 2, 10)),
        )
        return SetOverrides(command_id=self._id(), user_id=self.user, overrides=overrides, issued_at=self._world.now)

    def _role(self) -> SetRole:
        return SetRole(command_id=self._id(), user_id=self.user, role=Role.USER, issued_at=self._world.now)

    def _block(self) -> SetBlocked:
        blocked = self._world.random.random() < 0.3
        return SetBlocked(command_id=self._id(), user_id=self.user, blocked=blocked, issued_at=self._world.now)

    def _pick(self, wanted: Callable[[Job], bool]) -> Job | None:
        mine = [job for job in self._documents.values() if job.user_id == self.user and wanted(job)]
        return self._world.random.choice(mine) if mine else None
