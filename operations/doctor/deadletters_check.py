"""Dead letters that nobody has dealt with, and the quarantine: how many, and for how long."""

from collections.abc import AsyncIterator, Sequence

from operations.core.findings import Finding, age, note, ok, problem
from operations.doctor.surroundings import Surroundings
from schemas.codec import Record
from schemas.topics import DEADLETTER, QUARANTINE

CHECK = "deadletters"
MOST = 10_000  # letters that are looked at, the oldest first
_AT_ONCE = 200


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    found: list[Finding] = []
    open_, oldest, more = await _open(around)
    if open_:
        counted = f"{open_} dead letters{' at least' if more else ''}"
        what = f"{counted} that nobody has dealt with, the oldest for {age(around.now() - oldest)}"
        why = "each is something that was asked or reported and not done; they go after 30 days"
        found.append(problem(CHECK, what, why, "openv deadletters list"))
    log = around.desk.log
    starts, ends = await log.starts(QUARANTINE.name), await log.ends(QUARANTINE.name)
    kept = sum(ends[at] - start for at, start in starts.items())
    if kept:
        why = "they were replayed too often; nothing reads them"
        found.append(note(CHECK, f"{kept} records in quarantine", why, "openv replays"))
    return found or [ok(CHECK, "none that is open, and the quarantine is empty")]


async def _open(around: Surroundings) -> tuple[int, int, bool]:
    """How many are open, since when the oldest is (ms), and whether there are more than were looked at."""
    count, oldest, looked_at = 0, around.now(), 0
    async for page in _letters(around):
        by_place = {f"{one.partition}:{one.offset}": one for one in page}
        dealt = await around.desk.database.dispositions.dispositions(by_place)
        open_ = [
            one for place, one in by_place.items() if place not in dealt or dealt[place].letter_at != one.timestamp
        ]
        count, looked_at = count + len(open_), looked_at + len(page)
        oldest = min([oldest, *(one.timestamp for one in open_)])
        if looked_at >= MOST:
            return count, oldest, True
    return count, oldest, False


async def _letters(around: Surroundings) -> AsyncIterator[Sequence[Record]]:
    log = around.desk.log
    starts, ends = await log.starts(DEADLETTER.name), await log.ends(DEADLETTER.name)
    for partition, start in starts.items():
        for first in range(start, ends[partition], _AT_ONCE):
            yield await log.read(DEADLETTER.name, partition, first, min(first + _AT_ONCE, ends[partition]))
