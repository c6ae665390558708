"""Who did what from where: every change by an operator is in ``openv.audit`` before it is made, and as it ended; and
every reading of what users wrote, before it is shown.

Where the intention can't be recorded (Kafka is away), nothing is done.
"""

import getpass
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.ports import EventLog, Unavailable
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import encode

SOURCE = "/openv/operator"
READ_JOB, READ_LETTER = "jobs.read-words", "deadletters.read-words"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: ``name`` for people, ``via`` (``cli`` or ``api``), ``address``: from where."""

    name: str
    via: str
    address: str


@dataclass(slots=True)
class Action:
    """An action under way. What is put into ``detail`` goes into the entry of its end."""

    action_id: str
    detail: dict[str, str] = field(default_factory=dict)


def at_the_terminal() -> Actor:
    """Whoever runs this command."""
    host = socket.gethostname()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "unknown"
    return Actor(f"{user}@{host}", "cli", host)


@asynccontextmanager
async def audited(
    event_log: EventLog,
    actor: Actor,
    action: str,
    *,
    target: str = "",
    reason: str = "",
    detail: Mapping[str, str] | None = None,
) -> AsyncIterator[Action]:
    """Record the intention, let the body act, record its end. Raises ``Unavailable`` before anything is done.

    The end of a body that raises is recorded as failed; an end that can't be recorded is left out: what was done is
    done, and the intention without an end shows it.
    """
    under_way = Action(str(uuid4()))

    async def record(stage: AuditStage, words: Mapping[str, str] | None) -> None:
        entry = AuditEntry(
            action_id=under_way.action_id,
            stage=stage,
            at=now_ms(),
            actor=actor.name,
            via=actor.via,
            address=actor.address,
            action=action,
            target=target,
            reason=reason,
            detail=dict(words) if words else None,
        )
        await event_log.append(encode(entry, source=SOURCE, at=entry.at))

    await record(AuditStage.BEGUN, detail)
    try:
        yield under_way
    except BaseException as error:
        told = str(error) if isinstance(error, StackError | Unavailable) else type(error).__name__
        await _if_it_can(record(AuditStage.FAILED, {**under_way.detail, "error": told[:500]}))
        raise
    await _if_it_can(record(AuditStage.DONE, under_way.detail))


@asynccontextmanager
async def reading_words(
    event_log: EventLog, actor: Actor, action: str, target: str, *, shown: bool
) -> AsyncIterator[None]:
    """Around showing what a user wrote: recorded before the body runs, as with ``audited``. Not ``shown``: the body
    shows nothing of it, and nothing is recorded. Raises ``Unavailable`` before anything is shown."""
    if not shown:
        yield
        return
    async with audited(event_log, actor, action, target=target):
        yield


async def _if_it_can(recording: Coroutine[Any, Any, None]) -> None:
    with suppress(Unavailable):
        await recording
