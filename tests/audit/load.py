"""What people and operators say all the time: a bounded rate of commands of many users, over every partition.

One sender, one command after the other: no command on a job shares its millisecond with the command that made the job
or its next run (``docs/architecture.md``, "What is not promised": those are told apart by their order only once).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from repo.clock import now_ms
from schemas.accounts import Overrides, Role
from schemas.commands import (
    AnyCommand,
    AskUsage,
    CancelJob,
    DeleteJob,
    DeleteUser,
    GrantCredits,
    RedeemVoucher,
    RetryJob,
    SetBlocked,
    SetOverrides,
    SetRole,
    SubmitJob,
)
from schemas.requests import GenerationRequest
from tests.audit.post import Post
from tests.streams.submissions import new_id, submission

USERS = 48
JOBS_EACH = 25  # then another user comes in their place, so that nobody's view grows without end
APART_S = 0.003
BURST = 24
UNFINISHED_MAX = 150


@dataclass(slots=True)
class _User:
    user_id: str
    jobs: list[SubmitJob] = field(default_factory=list)


class Load:
    """``rate``: commands a second on the average. None while much is ``unfinished()``, or slow machines would drown."""

    def __init__(
        self, post: Post, pools: Sequence[str], chance: Random, unfinished: Callable[[], int], *, rate: float
    ) -> None:
        self._post = post
        self._pools = pools
        self._chance = chance
        self._unfinished = unfinished
        self._rate = rate
        self._users = [_User(new_id("user-")) for _ in range(USERS)]
        self._said: deque[AnyCommand] = deque(maxlen=200)

    async def run(self) -> None:
        """Speak for ever."""
        while True:
            sent = await self._speak() if self._unfinished() < UNFINISHED_MAX else 1
            await asyncio.sleep(max(APART_S, self._chance.expovariate(self._rate / sent)))

    async def _speak(self) -> int:
        if self._chance.random() < 0.02:
            return await self._burst()
        commands = self._words(self._chance.choice(self._users))
        for command in commands:
            self._said.append(command)
            await self._post.send(command)
            await asyncio.sleep(APART_S)
        return len(commands)

    async def _burst(self) -> int:
        """Many users at once: records that a process holds at different stages when it dies."""
        users = self._chance.sample(self._users, BURST)
        submissions = [self._submission(user) for user in users]
        await self._post.send(*submissions)
        return len(submissions)

    def _words(self, user: _User) -> list[AnyCommand]:
        if len(user.jobs) >= JOBS_EACH:
            return self._farewell(user)
        draw = self._chance.random()
        if len(user.jobs) < 2 or draw < 0.45:
            command = self._submission(user)
            if self._chance.random() < 0.04:  # somebody who cancels what is not there yet
                return [CancelJob(command_id=new_id(), user_id=user.user_id, job_id=command.job_id), command]
            return [command]
        if draw < 0.80:
            return [self._about_a_job(user)]
        if draw < 0.92:
            return [self._about_the_account(user.user_id)]
        return [self._again(user)]

    def _submission(self, user: _User) -> SubmitJob:
        frames = self._chance.choice([7, 13, 19, 25])
        command = submission(
            user.user_id,
            self._chance.choice(self._pools),
            request=GenerationRequest(prompt="a corgi surfing", num_frames=frames),
            credits=self._chance.choice([0.0, 0.0, 0.0, 2.0]),
            ttl_ms=self._chance.choice([None, None, None, 2_000]),
            priority=self._chance.choice([0, 0, 1]),
        )
        if self._chance.random() < 0.02:
            command = replace(command, append_by=now_ms() - 1)  # its sender gave up
        user.jobs.append(command)
        return command

    def _about_a_job(self, user: _User) -> AnyCommand:
        job = self._chance.choice(user.jobs)
        named = {"command_id": new_id(), "user_id": user.user_id, "job_id": job.job_id}
        run = self._chance.choice([1, 1, 2])
        words: list[AnyCommand] = [
            CancelJob(**named),
            CancelJob(**named, run=run),
            DeleteJob(**named),
            RetryJob(**named, run=run, append_by=now_ms() + 3_600_000),
            RetryJob(**named, run=run, append_by=now_ms() + 3_600_000),
        ]
        return self._chance.choice(words)

    def _about_the_account(self, user_id: str) -> AnyCommand:
        named = {"command_id": new_id(), "user_id": user_id}
        words: list[AnyCommand] = [
            AskUsage(**named),
            AskUsage(**named),
            GrantCredits(**named, grant_id=self._chance.choice(["first", new_id()]), credits=5.0),
            SetOverrides(**named, overrides=Overrides(max_active=self._chance.choice([1, 8])), issued_at=now_ms()),
            SetRole(**named, role=self._chance.choice([Role.USER, Role.ADMIN]), issued_at=now_ms()),
            RedeemVoucher(
                **named,
                code=self._chance.choice(["first", new_id()]),
                role=Role.USER,
                append_by=now_ms() + self._chance.choice([3_600_000, 3_600_000, -1]),
            ),
            SetBlocked(**named, blocked=self._chance.random() < 0.3, issued_at=now_ms()),
        ]
        return self._chance.choice(words)

    def _again(self, user: _User) -> AnyCommand:
        """A duplicate, word for word, or a submission repeated by an impatient client."""
        if self._said and self._chance.random() < 0.6:
            return self._chance.choice(self._said)
        return replace(self._chance.choice(user.jobs), command_id=new_id())

    def _farewell(self, user: _User) -> list[AnyCommand]:
        self._users[self._users.index(user)] = _User(new_id("user-"))
        if self._chance.random() < 0.7:
            return [AskUsage(command_id=new_id(), user_id=user.user_id)]
        gone = DeleteUser(command_id=new_id(), user_id=user.user_id, issued_at=now_ms())
        back = SetRole(command_id=new_id(), user_id=user.user_id, role=Role.USER, issued_at=now_ms() + 1)
        return [gone, back] if self._chance.random() < 0.5 else [gone]
