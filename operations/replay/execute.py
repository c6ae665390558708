"""Executing a plan: taking it, going on where it stopped, and how it ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import cast

from operations.audit.recording import Actor, audited
from operations.core.replay_names import is_file
from operations.core.replay_scope import Asked
from operations.replay.bound import asked_of, differences, is_as_planned, still_holds
from operations.replay.collecting import rarely_collected
from operations.replay.dealt_with import dealt_with
from operations.replay.dry_run import rules_of, targets_of
from operations.replay.execution import Execution, Landed, clean
from operations.replay.files import LinesWriter, path_of
from operations.replay.in_turn import InTurn
from operations.replay.landing import landed
from operations.replay.noting import NotingSink
from operations.replay.pace import Wishes
from operations.replay.readers import Readers
from operations.replay.room import CLIENT_ID, Room, Tell
from operations.replay.sieve import Lanes, Sieve, lanes_of
from operations.replay.sinks import FileSink, Sink, TopicSink
from operations.replay.sources import LostError, Resolved, opened
from operations.replay.tenure import OustedError, PausedError, Tenure, begin, found
from operations.stack.errors import StackError
from repo.ports import Unavailable
from repo.topic_reader import TopicReader
from repo.topic_writer import TopicWriter
from schemas.codec import Record
from schemas.replay_plans import Checkpoint, Place, ReplayFact, ReplayPlan, ReplayState
from schemas.replays import REPLAY_ID
from schemas.topics import DEADLETTER

SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of it ended. ``came_back``: dead letters of this replay that were seen in this run."""

    plan: ReplayPlan
    came_back: int


async def execute(
    room: Room,
    replay_id: str,
    asked: Asked | None,
    actor: Actor,
    wishes: Wishes,
    tell: Tell = lambda _: None,
    *,
    claimed: bool = False,
) -> Ended:
    """Execute, or go on with, a replay that was planned. ``asked``: the words of now, which must be those of the plan.
    ``claimed``: of dead letters chosen one by one it was noted that they are this replay's.

    One that an operator pauses meanwhile ends as paused. Raises ``StackError`` where something differs from the dry run
    or that found nothing, another executes it, or it is over; ``Unavailable``.
    """
    plan = await found(room.database.replays, replay_id)
    scope = asked_of(plan)
    if asked is not None and asked.digest() != plan.asked_digest:
        raise StackError(f"That is not the scope of {replay_id}: {'; '.join(differences(plan.asked, asked.words()))}.")
    are_letters = plan.source == DEADLETTER.name and plan.chosen is not None
    if are_letters and plan.state is ReplayState.PLANNED and not claimed:
        raise StackError(
            f"{replay_id} is of dead letters chosen one by one: `openv deadletters redrive {replay_id} --execute` "
            "notes that they are redriven, and writes them. `openv replays cancel "
            f"{replay_id}` frees those noted for it."
        )
    if plan.state is ReplayState.PLANNED and not plan.in_scope:
        raise StackError(f"The dry run of {replay_id} found nothing that matches: there is nothing to write.")
    action = "replay.execute" if plan.state is ReplayState.PLANNED else "replay.continue"
    detail = {"source": plan.source, "into": plan.target, "in_scope": str(plan.in_scope)}
    if not is_as_planned(plan, scope):
        raise StackError(f"The document of {replay_id} is not as its dry run stored it. Plan it again (the dry run).")
    async with TopicReader(room.settings, CLIENT_ID, committed=True) as reader:
        await still_holds(plan, reader)
        async with audited(room.log, actor, action, target=replay_id, detail=detail) as audit:
            try:
                ended = await _executed(room, reader, plan, scope, actor, wishes, tell)
            except PausedError as paused:
                ended = Ended(paused.plan, wishes.came_back)
            checkpoint = ended.plan.checkpoint or Checkpoint()
            audit.detail |= {"state": ended.plan.state, "written": str(checkpoint.written)}
            audit.detail["quarantined"] = str(checkpoint.quarantined)
    return ended


async def _executed(
    room: Room, reader: TopicReader, plan: ReplayPlan, asked: Asked, actor: Actor, wishes: Wishes, tell: Tell
) -> Ended:
    resolved = Resolved(plan.spans, plan.since, plan.until, plan.source_mark)
    rules = rules_of(plan.replay_id, asked)
    letters = dealt_with(room.database.dispositions, asked, rules, plan.created_at)
    sieve = Sieve(asked, resolved, rules, letters)
    lanes = None if is_file(plan.target) else await lanes_of(reader, targets_of(plan.target))
    tenure = await begin(room.database.replays, plan, await _first_checkpoint(plan, reader, lanes))
    before: Landed = {}
    if lanes is not None and plan.checkpoint is not None:
        before = await _landed(room, plan)
    spans = _left(tenure.plan)
    async with AsyncExitStack() as stack:
        sink, lines = await _sink(room, plan, lanes, tenure, stack)
        if plan.source == DEADLETTER.name and plan.chosen is None and rules.redrives:
            sink = NotingSink(sink, room.database.dispositions, plan.replay_id, actor)
        stack.enter_context(rarely_collected())
        source = opened(plan.source, reader, spans)
        stack.callback(source.close)
        readers = Readers(room.database.jobs, lanes.topics if lanes is not None else ())
        if readers or wishes.rate is not None:
            source = InTurn(source)
        execution = Execution(source, sieve, sink, tenure, plan, before, readers)
        if readers:
            wishes = replace(wishes, came_back_max=wishes.came_back_max + plan.dead_letters)
            await stack.enter_async_context(_watching(room, plan.replay_id, wishes))
        await _run(execution, tenure, wishes, tell, lines)
        await readers.settled(execution.checkpoint.ends, SETTLE_S)
    return Ended(tenure.plan, wishes.came_back)


async def _run(execution: Execution, tenure: Tenure, wishes: Wishes, tell: Tell, lines: LinesWriter | None) -> None:
    """To an end of whatever kind, which is stored."""
    try:
        reason = await execution.run(wishes, tell)
    except OustedError:
        raise
    except (Unavailable, StackError) as trouble:
        fact = ReplayFact.BROKE if isinstance(trouble, LostError) else ReplayFact.STOPPED
        with suppress(Unavailable):
            await tenure.end(fact, execution.checkpoint, str(trouble))
        raise
    if reason is None:
        if lines is not None:
            await tenure.save(execution.checkpoint)  # whoever goes on behind the next line finds it whole
            lines.close_whole()
        await tenure.end(ReplayFact.FINISHED, clean(execution.checkpoint))
        return
    is_canary = wishes.canary is not None and not wishes.stop.is_set() and wishes.came_back <= wishes.came_back_max
    fact = ReplayFact.CANARY_WRITTEN if is_canary else ReplayFact.STOPPED
    await tenure.end(fact, clean(execution.checkpoint), reason)


async def _first_checkpoint(plan: ReplayPlan, reader: TopicReader, lanes: Lanes | None) -> Checkpoint:
    """Where it goes on. One that was begun keeps its ends, also where nothing was under way: this may be a copy of it
    out of a backup, and what it has written since lies behind them."""
    if plan.checkpoint is not None:
        return replace(plan.checkpoint, clean=False) if lanes is not None else plan.checkpoint
    ends = []
    for topic in lanes.topics if lanes else ():
        ends += [Place(topic=topic, partition=p, offset=o) for p, o in (await reader.ends(topic)).items()]
    read = tuple(Place(topic="", partition=span.partition, offset=span.first) for span in plan.spans)
    return Checkpoint(read=read, ends=tuple(ends))


async def _landed(room: Room, plan: ReplayPlan) -> Landed:
    """All of it, also what lies behind somebody's open transaction."""
    assert plan.checkpoint is not None  # noqa: S101 -- looked at by the caller
    read = {one.partition: one.offset for one in plan.checkpoint.read}
    may_come = not plan.checkpoint.clean
    async with TopicReader(room.settings, CLIENT_ID) as reader:
        everything = await landed(reader, plan.replay_id, plan.checkpoint.ends, may_come=may_come)
    return {at: where for at, where in everything.items() if at[1] >= read.get(at[0], 0)}


def _left(plan: ReplayPlan) -> dict[int, tuple[int, int]]:
    read = {one.partition: one.offset for one in plan.checkpoint.read} if plan.checkpoint else {}
    return {span.partition: (read.get(span.partition, span.first), span.end) for span in plan.spans}


async def _sink(
    room: Room, plan: ReplayPlan, lanes: Lanes | None, tenure: Tenure, stack: AsyncExitStack
) -> tuple[Sink, LinesWriter | None]:
    if lanes is not None:
        writer = TopicWriter(room.settings, CLIENT_ID, may_send=lambda: tenure.holds)
        await stack.enter_async_context(writer)
        return TopicSink(writer, lanes), None
    size = next((one.offset for one in plan.checkpoint.ends), None) if plan.checkpoint else None
    lines = LinesWriter(path_of(plan.target), plan.replay_id, plan.source, size)
    stack.callback(lines.close)
    return FileSink(lines, plan.target), lines


@asynccontextmanager
async def _watching(room: Room, replay_id: str, wishes: Wishes) -> AsyncIterator[None]:
    """Count the dead letters of this replay while it runs."""
    start = await room.log.ends(DEADLETTER.name)

    async def watch() -> None:
        tail = room.log.tail(DEADLETTER.name, start)
        async with aclosing(cast("AsyncGenerator[Sequence[Record]]", tail)) as batches:
            async for batch in batches:
                wishes.came_back += sum(record.header(REPLAY_ID) == replay_id for record in batch)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
