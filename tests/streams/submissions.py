"""Commands as gateways send them, and their answers as gateways hear them."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self
from uuid import uuid4

from repo.clock import now_ms
from repo.ports import EventLog
from schemas.codec import Message, Record, Unreadable, decode, encode
from schemas.commands import AnyCommand, SubmitJob
from schemas.events import CommandAnswered
from schemas.requests import GenerationRequest

SOURCE = "/tests"


def new_id(prefix: str = "") -> str:
    """An id that nobody else has."""
    return f"{prefix}{uuid4().hex[:12]}" if prefix else str(uuid4())


def submission(user_id: str, pool: str, **changes: Any) -> SubmitJob:
    """A request for seven frames."""
    command = SubmitJob(
        command_id=new_id(),
        user_id=user_id,
        job_id=new_id(),
        pool=pool,
        request=GenerationRequest(prompt="a corgi surfing", num_frames=7),
        request_hash="hash",
        append_by=now_ms() + 3_600_000,
    )
    return replace(command, **changes)


async def send(log: EventLog, *messages: Message) -> None:
    """Append them, as a gateway or a worker does."""
    await log.append_all([encode(message, source=SOURCE, at=now_ms()) for message in messages])


class Ear:
    """Hears a topic from the moment it is opened: ``async with Ear(log, "openv.events") as ear``."""

    def __init__(self, log: EventLog, topic: str) -> None:
        self._log = log
        self._topic = topic
        self.records: list[Record] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        start = await self._log.ends(self._topic)
        self._task = asyncio.create_task(self._listen(start))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, start: Mapping[int, int]) -> None:
        async for batch in self._log.tail(self._topic, start):
            self.records += batch

    def messages(self) -> list[Message]:
        """All that was heard and can be read, in the order of arrival."""
        return [message for record in self.records if not isinstance(message := decode(record), Unreadable)]

    def answers(self) -> dict[str, CommandAnswered]:
        """The last answer to every command."""
        return {one.command_id: one for one in self.messages() if isinstance(one, CommandAnswered)}

    async def answered(self, *commands: AnyCommand, within_s: float = 60.0) -> dict[str, CommandAnswered]:
        """The answers to these commands, all of them."""
        wanted = {command.command_id for command in commands}
        deadline = time.monotonic() + within_s
        while wanted - self.answers().keys():
            missing = len(wanted - self.answers().keys())
            assert time.monotonic() < deadline, f"{missing} of {len(wanted)} commands not answered in {within_s} s"
            await asyncio.sleep(0.05)
        return {command_id: answer for command_id, answer in self.answers().items() if command_id in wanted}
