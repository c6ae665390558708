"""Executing a plan: that it still holds, taking it, going on where it stopped, and how it ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import cast

from operations.audit import Actor, audited
from operations.core.replay_names import is_file
from operations.core.replay_scope import Asked, asked_in
from operations.replay.dry_run import rules_of, targets_of
from operations.replay.execution import Execution, Landed, Wishes, clean
from operations.replay.files import LinesWriter, measured, path_of
from operations.replay.landing import landed
from operations.replay.noting import NotingSink
from operations.replay.room import CLIENT_ID, Room, Tell
from operations.replay.sieve import Lanes, Sieve, lanes_of
from operations.replay.sinks import FileSink, Sink, TopicSink
from operations.replay.sources import LostError, Resolved, opened
from operations.replay.tenure import OustedError, Tenure, begin, found
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.ports import Unavailable
from repo.topic_reader import TopicReader
from repo.topic_writer import TopicWriter
from schemas.codec import Record
from schemas.replay_plans import Checkpoint, Place, ReplayFact, ReplayPlan, ReplayState
from schemas.replays import REPLAY_ID
from schemas.topics import DEADLETTER

PLAN_GOOD_MS = 24 * 3_600_000
SETTLE_S = 5.0
_UNFINISHED = frozenset({ReplayState.RUNNING, ReplayState.CANARY, ReplayState.PAUSED})
_READERS = {"openv.commands": "ledger", "openv.events": "janitor", "openv.dispatch": "scheduler"}


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

    Raises ``StackError`` where something differs from the dry run, another executes it, or it is over; ``Unavailable``.
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
    action = "replay.execute" if plan.state is ReplayState.PLANNED else "replay.continue"
    detail = {"source": plan.source, "into": plan.target, "in_scope": str(plan.in_scope)}
    async with TopicReader(room.settings, CLIENT_ID) as reader:
        await _still_holds(plan, reader)
        async with audited(room.log, actor, action, target=replay_id, detail=detail) as audit:
            ended = await _executed(room, reader, plan, scope, actor, wishes, tell)
            checkpoint = ended.plan.checkpoint or Checkpoint()
            audit.detail |= {"state": ended.plan.state, "written": str(checkpoint.written)}
            audit.detail["quarantined"] = str(checkpoint.quarantined)
    return ended


def asked_of(plan: ReplayPlan) -> Asked:
    """What the plan was made of."""
    return asked_in(plan.asked, None if plan.chosen is None else tuple(_place(one) for one in plan.chosen))


def differences(planned: Mapping[str, str], said: Mapping[str, str]) -> list[str]:
    """In words."""
    return [
        f"{name} is {said.get(name, 'not given')}, the dry run had {planned.get(name, 'none')}"
        for name in sorted(planned.keys() | said.keys())
        if planned.get(name) != said.get(name)
    ]


async def plan_of(room: Room, asked: Asked) -> str:
    """The newest replay of these words: a dry run, or one that is not over, so that who says the same again goes on
    with it. Raises ``StackError`` that says what is missing."""
    same = [one for one in await room.database.replays.planned_as(asked.digest()) if not _came_to_nothing(one)]
    if same:
        return _meant(same)
    words = asked.words()
    for plan in await room.database.replays.replays():
        if plan.state is ReplayState.PLANNED and plan.source == asked.source:
            told = "; ".join(differences(plan.asked, words))
            raise StackError(f"There was no dry run of exactly this. {plan.replay_id} comes close: {told}.")
    raise StackError("There was no dry run of this yet: run it without --execute first, and look at what it finds.")


def _came_to_nothing(plan: ReplayPlan) -> bool:
    return plan.state is ReplayState.CANCELLED and plan.checkpoint is None


def _meant(same: Sequence[ReplayPlan]) -> str:
    """Of replays of the same words, the newest first. None is begun beside one that is not over, nor an older dry run
    after one was carried out: what that has written would be written twice."""
    newest, unfinished = same[0], next((one for one in same if one.state in _UNFINISHED), None)
    if unfinished is not None and unfinished is not newest:
        raise StackError(
            f"{unfinished.replay_id} is the same, and not over: `openv replay {unfinished.replay_id} --continue` goes "
            f"on, `openv replays cancel {unfinished.replay_id}` ends it."
        )
    if newest.state is not ReplayState.PLANNED and newest.state not in _UNFINISHED:
        raise StackError(f"That was {newest.replay_id}, which is {newest.state}: plan it again (the dry run).")
    return newest.replay_id


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    return int(partition), int(offset)


async def _still_holds(plan: ReplayPlan, reader: TopicReader) -> None:
    """Raises ``StackError`` where the source is not what the dry run saw."""
    again = "Plan it again (the dry run)."
    if plan.state is ReplayState.PLANNED and now_ms() - plan.created_at > PLAN_GOOD_MS:
        raise StackError(f"The dry run of {plan.replay_id} is older than a day, and things change. {again}")
    if is_file(plan.source):
        if measured(path_of(plan.source))[2] != plan.source_mark:
            raise StackError(f"{path_of(plan.source)} is not the file that the dry run read. {again}")
        return
    starts, ends = await reader.starts(plan.source), await reader.ends(plan.source)
    read = {one.partition: one.offset for one in plan.checkpoint.read} if plan.checkpoint else {}
    for span in plan.spans:
        first = max(span.first, read.get(span.partition, 0))
        if first < span.end and starts.get(span.partition, span.end) > first:
            raise StackError(
                f"{plan.source} partition {span.partition} does not keep offset {first} any more, which the dry run "
                f"saw: it begins at {starts.get(span.partition, 'nowhere')}. {again}"
            )
        if ends.get(span.partition, 0) < span.end:
            raise StackError(f"{plan.source} partition {span.partition} is shorter than it was: made anew? {again}")


async def _executed(
    room: Room, reader: TopicReader, plan: ReplayPlan, asked: Asked, actor: Actor, wishes: Wishes, tell: Tell
) -> Ended:
    resolved = Resolved(plan.spans, plan.since, plan.until, plan.source_mark)
    rules = rules_of(plan.replay_id, asked)
    sieve = Sieve(asked, resolved, rules)
    lanes = None if is_file(plan.target) else await lanes_of(reader, targets_of(plan.target))
    tenure = await begin(room.database.replays, plan, await _first_checkpoint(plan, reader, lanes))
    before: Landed = {}
    if lanes is not None and plan.checkpoint is not None:
        before = await _landed(reader, plan)
    spans = _left(tenure.plan)
    async with AsyncExitStack() as stack:
        sink, lines = await _sink(room, plan, lanes, stack)
        if plan.source == DEADLETTER.name and plan.chosen is None and rules.redrives:
            sink = NotingSink(sink, room.database.dispositions, plan.replay_id, actor)
        source = opened(plan.source, reader, spans)
        stack.callback(source.close)
        execution = Execution(source, sieve, sink, tenure, plan, before)
        if lanes is not None and set(lanes.topics) & _READERS.keys():
            wishes = replace(wishes, came_back_max=wishes.came_back_max + plan.dead_letters)
            await stack.enter_async_context(_watching(room, plan.replay_id, wishes))
        await _run(execution, tenure, wishes, tell, lines)
        if lanes is not None:
            await _settled(room, execution.checkpoint)
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


async def _landed(reader: TopicReader, plan: ReplayPlan) -> Landed:
    assert plan.checkpoint is not None  # noqa: S101 -- looked at by the caller
    read = {one.partition: one.offset for one in plan.checkpoint.read}
    everything = await landed(reader, plan.replay_id, plan.checkpoint.ends, may_come=not plan.checkpoint.clean)
    return {at: where for at, where in everything.items() if at[1] >= read.get(at[0], 0)}


def _left(plan: ReplayPlan) -> dict[int, tuple[int, int]]:
    read = {one.partition: one.offset for one in plan.checkpoint.read} if plan.checkpoint else {}
    return {span.partition: (read.get(span.partition, span.first), span.end) for span in plan.spans}


async def _sink(
    room: Room, plan: ReplayPlan, lanes: Lanes | None, stack: AsyncExitStack
) -> tuple[Sink, LinesWriter | None]:
    if lanes is not None:
        writer = await stack.enter_async_context(TopicWriter(room.settings, CLIENT_ID))
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


async def _settled(room: Room, checkpoint: Checkpoint) -> None:
    """Wait a moment until what was written has been processed, so that what came back of it is counted."""
    waiting = [place for place in checkpoint.ends if place.topic in _READERS and place.offset]
    with suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(SETTLE_S):
            for place in waiting:
                await _applied(room, place)


async def _applied(room: Room, place: Place) -> None:
    """Wait until the topic's reader has applied all before this place."""
    while True:
        applied = await room.database.jobs.applied_offsets(_READERS[place.topic])
        if applied.get(place.partition, -1) >= place.offset - 1:
            return
        await asyncio.sleep(0.1)
