"""Where an operator sits: a log to write to, a database to read from. Changes are commands; their answers are awaited.

The ledger alone writes jobs and accounts, so every change is a command on ``openv.commands``, whose answer comes on
``openv.events``; nothing is written here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gateway.tracing import sending
from operations.local import server_environment
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.database import Database
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.ports import EventLog, Unavailable
from repo.settings import ServerSettings
from schemas.accounts import Account
from schemas.codec import Record, decode, encode
from schemas.commands import AnyCommand, AskUsage
from schemas.events import CommandAnswered, Outcome
from schemas.topics import EVENTS

SOURCE = "/openv/operator"
ANSWER_WITHIN_S = 15.0
NOT_DECIDED = 3  # exit code
_SET_ASIDE = (
    "Nothing was changed: a stored document that this needs is damaged, so the command is a dead letter now. `openv "
    "doctor` names the document, and what mends it: a damaged job, `openv rebuild`. `openv deadletters list` shows the "
    "command; once it is mended, `openv deadletters redrive` carries it out, or `openv deadletters discard` forgets it."
)


class SetAsideError(StackError):
    """The command is among the dead letters, because a document that it needs is damaged."""


class UncertainError(StackError):
    """A command may have been recorded, or not: Kafka took it, or did not, and has not said so."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an operator sits: a log to write to, and a database to read from."""

    log: EventLog
    database: Database

    async def account(self, user: str) -> Account:
        """As it is stored; version 0 where nothing is."""
        return await self.database.jobs.account(user) or Account(user_id=user)

    async def ask(self, command: AnyCommand) -> CommandAnswered | None:
        """The ledger's answer; None: recorded, and nobody has decided it in time. Raises ``Unavailable`` where nothing
        was sent, ``StackError`` where it may have been recorded, ``SetAsideError`` where it is a dead
        letter; of a question, which changes nothing, that is the answer."""
        partition = self.log.partition_of(EVENTS.name, command.key.encode())
        begin = (await self.log.ends(EVENTS.name))[partition]
        try:
            with sending(command) as traceparent:
                await self.log.append(encode(command, source=SOURCE, at=now_ms(), traceparent=traceparent))
        except Unavailable as absent:
            raise UncertainError(
                f"{absent}. The command may be recorded all the same, and is then carried out; "
                f"`openv users show {command.user_id}` tells."
            ) from None
        tail = self.log.tail(EVENTS.name, {partition: begin})
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    answer = await _answer_in(batches, f"{command.command_id}:answer")
            except TimeoutError:
                return None
        if answer is not None and answer.outcome is Outcome.SET_ASIDE and not isinstance(command, AskUsage):
            raise SetAsideError(_SET_ASIDE)
        return answer


async def _answer_in(batches: AsyncIterator[Sequence[Record]], message_id: str) -> CommandAnswered | None:
    async for batch in batches:
        for record in batch:
            if record.header("ce_id") == message_id and isinstance(answer := decode(record), CommandAnswered):
                return answer
    return None


@asynccontextmanager
async def desk(data_dir: Path, client_id: str = "openv-operator") -> AsyncIterator[Desk]:
    """A desk at the servers that the environment names, or at those of the data directory's stack."""
    server_environment(data_dir)
    settings = ServerSettings()
    async with MongoDatabase(settings) as database, KafkaEventLog(settings, client_id=client_id) as log:
        yield Desk(log, database)
