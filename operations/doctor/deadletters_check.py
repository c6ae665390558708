"""Dead letters that nobody has dealt with, and the quarantine: how many, and for how long."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from operations.core.counting import several
from operations.core.dead_letters import Seen, Standing
from operations.core.findings import Finding, age, note, ok, problem
from operations.deadletters.reading import Fates
from operations.deadletters.redriving import why_left
from operations.doctor.surroundings import Surroundings
from schemas.codec import Record
from schemas.topics import DEADLETTER, QUARANTINE

CHECK = "deadletters"
MOST = 10_000  # letters that are looked at, the oldest first
_AT_ONCE = 200
_NAMED = 3  # replays


@dataclass(slots=True)
class _There:
    """``open``: how many nobody has dealt with, since when (ms) the ``oldest``, how many of them a redrive would leave
    (``left``); ``waiting``: those of replays that are not over; ``more``: there are more than were looked at."""

    oldest: int
    open: int = 0
    left: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    more: bool = False

    def add(self, seen: Seen) -> None:
        if seen.standing is Standing.OPEN:
            self.open += 1
            self.left += why_left(seen) is not None
            self.oldest = min(self.oldest, seen.record.timestamp)
        elif seen.standing is Standing.REDRIVING and seen.disposition is not None:
            self.waiting[str(seen.disposition.replay_id)] += 1


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    found: list[Finding] = []
    there = await _there(around)
    if there.open:
        counted = f"{several(there.open, 'dead letter')}{' at least' if there.more else ''}"
        what = f"{counted} that nobody has dealt with, the oldest for {age(around.now() - there.oldest)}"
        found.append(problem(CHECK, what, *_what_to_do(there)))
    found += [await _unfinished(around, replay_id, count) for replay_id, count in there.waiting.most_common(_NAMED)]
    log = around.desk.log
    starts, ends = await log.starts(QUARANTINE.name), await log.ends(QUARANTINE.name)
    kept = sum(ends[at] - start for at, start in starts.items())
    if kept:
        why = "they were replayed too often; nothing reads them, and they go after 90 days"
        found.append(
            note(
                CHECK,
                f"{several(kept, 'record')} in quarantine",
                why,
                "openv replay quarantine --into file:quarantine.ndjson",
            )
        )
    return found or [ok(CHECK, "none that is open, and the quarantine is empty")]


def _what_to_do(there: _There) -> tuple[str, str]:
    """Why it matters, and the command."""
    lost = "each is something that was asked or reported and not done; they go after 30 days. "
    if there.left == there.open and not there.more:
        why = (
            "None of them can be sent again as it is: this lists them; `openv deadletters edit ID` sends one as it "
            "should have been, `openv deadletters discard ID` says that nothing will be done with it"
        )
        return f"{lost}{why} (docs/runbooks/DeadLetters.md)", "openv deadletters list"
    why = "Once the cause is mended, this says what would be sent again, what can't be, and how"
    return f"{lost}{why} (docs/runbooks/DeadLetters.md)", "openv deadletters redrive --all"


async def _unfinished(around: Surroundings, replay_id: str, count: int) -> Finding:
    what = f"{several(count, 'dead letter is', 'dead letters are')} in {replay_id}"
    plan = await around.desk.database.replays.replay(replay_id)
    if plan is not None and plan.lease is not None and plan.lease.until > around.now():
        return note(CHECK, f"{what}, which runs")
    why = "until it goes on or is cancelled, no other redrive takes them"
    return note(CHECK, f"{what}, which is not over", why, f"openv replay {replay_id} --continue")


async def _there(around: Surroundings) -> _There:
    there, looked_at = _There(oldest=around.now()), 0
    fates = Fates(around.desk.database)
    async for page in _letters(around):
        for seen in await fates.seen(page):
            there.add(seen)
        looked_at += len(page)
        if looked_at >= MOST:
            there.more = True
            break
    return there


async def _letters(around: Surroundings) -> AsyncIterator[Sequence[Record]]:
    log = around.desk.log
    starts, ends = await log.starts(DEADLETTER.name), await log.ends(DEADLETTER.name)
    for partition, start in starts.items():
        for first in range(start, ends[partition], _AT_ONCE):
            yield await log.read(DEADLETTER.name, partition, first, min(first + _AT_ONCE, ends[partition]))
