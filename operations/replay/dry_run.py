"""The dry run: what a replay would write and what would come of it. Its findings are stored as a plan, under an id.

Nothing else is written: not to a topic, not to a document.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from operations.core.replay_names import ORIGIN_TOPIC, TARGETS, check, is_file
from operations.core.replay_records import Rules, Written
from operations.core.replay_report import Tally
from operations.core.replay_scope import Asked, chosen_words, digest
from operations.replay.collecting import rarely_collected
from operations.replay.dealt_with import dealt_with
from operations.replay.files import is_taken, path_of
from operations.replay.marks import marked
from operations.replay.naming import new_name
from operations.replay.rehearsal import REHEARSED, Rehearsal
from operations.replay.room import CLIENT_ID, Progress, Room, Tell
from operations.replay.sieve import NOT_CHOSEN, OUTSIDE, Lanes, Sieve, lanes_of
from operations.replay.sources import Chunk, Resolved, opened, resolve
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.topic_reader import TopicReader
from schemas.codec import Record
from schemas.replay_plans import ReplayPlan, ReplayState
from streams.settings import StreamsSettings

AT_A_TIME = 2_000
CHOSEN_MAX = 50_000


@dataclass(frozen=True, slots=True)
class DryRun:
    """``rehearse``: also run the ledger and the notifier over a copy, where the target is theirs. ``at``: when (ms) the
    caller began to look at the records that it names one by one."""

    asked: Asked
    rehearse: bool = True
    at: int | None = None


def targets_of(target: str) -> list[str]:
    """The topics that a replay into this may write to, beside the quarantine."""
    if is_file(target):
        return []
    return list(TARGETS) if target == ORIGIN_TOPIC else [target]


def rules_of(replay_id: str, asked: Asked) -> Rules:
    """As the words say; into a file everything goes, as it is."""
    return Rules(replay_id, asked.target, asked.max_replays)


async def plan(room: Room, dry_run: DryRun, tell: Tell = lambda _: None) -> ReplayPlan:
    """Read the whole scope, and store what was found. Raises ``NotAllowed``, ``BadScope``, ``StackError``,
    ``Unavailable``."""
    asked = dry_run.asked
    check(asked.source, asked.target)
    if asked.chosen is not None and len(asked.chosen) > CHOSEN_MAX:
        raise StackError(f"No more than {CHOSEN_MAX:,} records can be named one by one: say a scope instead.")
    if is_file(asked.target) and is_taken(path_of(asked.target)):
        raise StackError(f"{path_of(asked.target)} is there already: name another file.")
    now = now_ms()
    replay_id = new_name("r")
    async with TopicReader(room.settings, CLIENT_ID, committed=True) as reader:
        resolved = await resolve(asked, reader, now)
        if resolved.mark is None:
            resolved = replace(resolved, mark=await marked(reader, asked.source, resolved.spans))
        lanes = None if is_file(asked.target) else await lanes_of(reader, targets_of(asked.target))
        looking = _Looking(room, dry_run, resolved, rules_of(replay_id, asked), lanes)
        with rarely_collected():
            tally = await looking.run(reader, tell)
    made = _plan_of(asked, resolved, tally, replay_id, now if dry_run.at is None else dry_run.at)
    await room.database.replays.store_replay(made, 0)
    return made


def digest_of(words: dict[str, str], resolved: Resolved) -> str:
    """Of a scope and what it came to."""
    spans = [[span.partition, span.first, span.end] for span in resolved.spans]
    return digest([words, spans, resolved.since, resolved.until, resolved.mark])


def _plan_of(asked: Asked, resolved: Resolved, tally: Tally, replay_id: str, now: int) -> ReplayPlan:
    words = asked.words()
    return ReplayPlan(
        replay_id=replay_id,
        version=1,
        state=ReplayState.PLANNED,
        created_at=now,
        updated_at=now,
        source=asked.source,
        target=asked.target,
        asked=words,
        asked_digest=digest(words),
        digest=digest_of(words, resolved),
        spans=resolved.spans,
        report=orjson.dumps(tally.plain()).decode(),
        since=resolved.since,
        until=resolved.until,
        in_scope=tally.in_scope,
        quarantine=tally.quarantine,
        dead_letters=tally.effects.dead_letters.total if tally.effects else 0,
        max_replays=asked.max_replays,
        source_mark=resolved.mark,
        chosen=None if asked.chosen is None else chosen_words(asked.chosen),
    )


class _Looking:
    """One pass over the scope."""

    def __init__(self, room: Room, dry_run: DryRun, resolved: Resolved, rules: Rules, lanes: Lanes | None) -> None:
        self._asked = dry_run.asked
        self._resolved = resolved
        self._rules = rules
        self._lanes = lanes
        letters = dealt_with(room.database.dispositions, dry_run.asked, rules)
        self._sieve = Sieve(dry_run.asked, resolved, rules, letters)
        self._tally = Tally()
        self._rehearsal: Rehearsal | None = None
        if dry_run.rehearse and set(targets_of(dry_run.asked.target)) & REHEARSED:
            streams = StreamsSettings()
            self._rehearsal = Rehearsal(
                room.database.jobs,
                room.database.deliveries,
                streams.policy(),
                now_ms,
                origin=streams.openv_public_url,
                mail=streams.mailing is not None,
            )
            self._tally.effects = self._rehearsal.effects

    async def run(self, reader: TopicReader, tell: Tell) -> Tally:
        """To the end of the scope."""
        spans = {span.partition: (span.first, span.end) for span in self._resolved.spans}
        total = sum(end - first for first, end in spans.values())
        left = dict(spans)
        source = opened(self._asked.source, reader, spans)
        try:
            while (chunks := await source.next(AT_A_TIME)) is not None:
                for chunk in chunks:
                    await self._look_at(chunk)
                    left[chunk.partition] = (chunk.after, spans[chunk.partition][1])
                done = total - sum(end - first for first, end in left.values())
                tell(Progress(done, total, skipped=self._tally.skipped.total))
        finally:
            source.close()
        return self._tally

    async def _look_at(self, chunk: Chunk) -> None:
        tally = self._tally
        tally.read += len(chunk.records)
        rehearsed: list[tuple[int, Written]] = []
        judgements = await self._sieve.judgements(chunk)
        for number, (record, judged) in enumerate(zip(chunk.records, judgements, strict=True)):
            if not isinstance(judged, Written):
                tally.skip(judged, None if judged in (OUTSIDE, NOT_CHOSEN) else record)
                continue
            if judged.count > self._rules.most:
                tally.quarantine += 1
            tally.count(record, chunk.partition, judged.topic)
            if self._rehearsal is not None and judged.topic in REHEARSED:
                rehearsed.append((number, judged))
        await self._rehearse(chunk, rehearsed)

    async def _rehearse(self, chunk: Chunk, which: Sequence[tuple[int, Written]]) -> None:
        if self._rehearsal is None or self._lanes is None:
            return
        at = now_ms()
        for number, judged in which:
            record = chunk.records[number]
            key, value = record.key or b"", record.value or b""
            headers = tuple((name, one if one is not None else b"") for name, one in judged.headers)
            partition = self._lanes.of(judged.topic, record.key, chunk.partition)
            await self._rehearsal.take(Record(judged.topic, partition, 0, at, key, value, headers))
