"""Sends a command and waits for the ledger's answer, which every gateway sees on ``openv.events``.

Three ends: the answer; no answer in time (the command is recorded and will be decided); not recorded. The last is told
only when it is true: while the append's outcome is open, the caller waits until ``append_by`` has passed, after which
the ledger refuses the record should it land. A cancel or a delete has no such instant: one that lands late is still
carried out, which is what was asked for, and repeating it changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import structlog

from gateway.metrics import GatewayMetrics
from gateway.tracing import sending
from repo.ports import EventLog, Position, Unavailable
from schemas.codec import Record, Unreadable, decode, encode
from schemas.commands import AnyCommand, SubmitJob
from schemas.dispatch import RemoteMoved
from schemas.events import CommandAnswered

SOURCE = "/openv/gateway"
LEAST_WAIT_S = 0.05
LEAVING_S = 0.5  # for an append that is under way when the process stops: most take a few ms
Answered: TypeAlias = "asyncio.Future[CommandAnswered | None]"
logger = structlog.get_logger()


class NotRecorded(Exception):
    """The command is not known to be in the log, and one that would cost something is refused if it ever gets there."""


def answer_id(command_id: str) -> str:
    """The CloudEvents id of the answer to a command (``CommandAnswered.message_id``)."""
    return f"{command_id}:answer"


class Decisions:
    """One a process. ``kafka_answers`` tells whether the broker was there a moment ago."""

    def __init__(
        self,
        log: EventLog,
        now: Callable[[], int],
        kafka_answers: Callable[[], bool],
        timeout_s: float,
        metrics: GatewayMetrics | None = None,
    ) -> None:
        self._metrics = metrics or GatewayMetrics()
        self._metrics.watch_decisions(lambda: len(self._waiting))
        self._log = log
        self._now = now
        self._kafka_answers = kafka_answers
        self._timeout_s = timeout_s
        self._waiting: dict[str, Answered] = {}
        self._leaving = False

    async def ask(
        self,
        command: AnyCommand,
        *,
        append_by: int | None = None,
        recorded: Callable[[Position], None] = lambda _: None,
    ) -> CommandAnswered | None:
        """The ledger's answer, or None if it takes longer than the timeout; ``recorded`` is told then, at the latest,
        where the command lies. Raises ``NotRecorded``.
        """
        if isinstance(command, SubmitJob):  # its job is in no address: the request's line says it (``Envelope``)
            structlog.contextvars.bind_contextvars(job_id=command.job_id)
        began, outcome = time.monotonic(), "gone"
        try:
            answer = await self._ask(command, append_by, recorded)
            outcome = "late" if answer is None else str(answer.outcome)
            return answer
        except NotRecorded:
            outcome = "unavailable"
            raise
        finally:
            self._metrics.decided(outcome, time.monotonic() - began)

    async def _ask(
        self, command: AnyCommand, append_by: int | None, recorded: Callable[[Position], None]
    ) -> CommandAnswered | None:
        if not self._kafka_answers():
            raise NotRecorded
        give_up_at = append_by if append_by is not None else self._now() + int(self._timeout_s * 1000)
        decide_by = asyncio.get_running_loop().time() + self._timeout_s
        with self._expect(command.message_id) as answered:
            appending = asyncio.ensure_future(self._append(command))
            try:
                patience = max(LEAST_WAIT_S, (give_up_at - self._now()) / 1000)
                either: set[asyncio.Future[Any]] = {appending, answered}
                await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if self._leaving and not appending.done():
                    await asyncio.wait([appending], timeout=LEAVING_S)
                if not _acknowledged(appending):
                    return await self._unacknowledged(answered, give_up_at)
                recorded(appending.result())
            finally:
                appending.cancel()
            return await _within(answered, decide_by - asyncio.get_running_loop().time())

    async def record(self, command: AnyCommand | RemoteMoved) -> None:
        """Append a command that nobody answers. Durable when it returns. Raises ``Unavailable``."""
        if not self._kafka_answers():
            raise Unavailable("kafka", "it did not answer a moment ago")
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._append(command)
        except TimeoutError:
            raise Unavailable("kafka", f"no acknowledgement in {self._timeout_s:g} s") from None

    async def _append(self, command: AnyCommand | RemoteMoved) -> Position:
        with sending(command) as traceparent:
            return await self._log.append(encode(command, source=SOURCE, at=self._now(), traceparent=traceparent))

    async def _unacknowledged(self, answered: Answered, give_up_at: int) -> CommandAnswered:
        """Not acknowledged is not the same as not recorded: the answer may still come, until it is too late."""
        answer = await _within(answered, (give_up_at + 1 - self._now()) / 1000)
        if answer is None:
            raise NotRecorded
        return answer

    def resolve(self, record: Record) -> None:
        """Wake whoever waits for this answer; cheap when nobody does. ``record`` holds a ``CommandAnswered``."""
        waiting = self._waiting.get(record.header("ce_id") or "")
        if waiting is None or waiting.done():
            return
        message = decode(record)
        if isinstance(message, CommandAnswered):
            waiting.set_result(message)
        elif isinstance(message, Unreadable):
            logger.warning("answer_unreadable", reason=message.reason, offset=record.offset)

    def leave(self) -> None:
        """The process stops: nobody waits any longer, now or later."""
        self._leaving = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)

    @contextmanager
    def _expect(self, command_id: str) -> Iterator[Answered]:
        """Listen before the command is sent, so that no answer can be too fast."""
        future: Answered = asyncio.get_running_loop().create_future()
        if self._leaving:
            future.set_result(None)
        self._waiting[answer_id(command_id)] = future
        try:
            yield future
        finally:
            del self._waiting[answer_id(command_id)]


def _acknowledged(appending: "asyncio.Future[Position]") -> bool:
    """Whether the record is surely in the log. Raises what is no outage."""
    if not appending.done():
        return False
    error = appending.exception()
    if error is not None and not isinstance(error, Unavailable):
        raise error
    return error is None


async def _within(future: Answered, seconds: float) -> CommandAnswered | None:
    await asyncio.wait([future], timeout=max(LEAST_WAIT_S, seconds))
    return future.result() if future.done() else None
