"""``openv rebuild``: jobs and accounts brought up to date from ``openv.events``, then compared with it.

Each event holds its whole document, so the newest of each is stored where what is stored is older, or can't be read; a
newer document is never replaced, but for an account that can't be read. The database is closed meanwhile. A rebuild
that was killed is run again, and begins where it began.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.audit.recording import Actor, audited
from operations.core.recovery_merge import Announced, newest
from operations.core.recovery_table import ACCOUNTS, JOBS
from operations.recovery.events import Span, span, stretches
from operations.recovery.place import Place, Progress, Step, Sure, alone, silent
from operations.recovery.standing import hold, require_free
from operations.recovery.verify import Comparison, compare
from operations.stack.errors import StackError
from repo.core.documents import NotStorableError, to_document
from repo.core.identity import CLOSED
from schemas.identities import Standing
from schemas.topics import EVENTS


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """``cut``: events since the backup that the log no longer keeps; ``stored``: documents that were brought up to
    date, by collection."""

    read: int
    cut: int
    unreadable: int
    stored: Mapping[str, int]
    comparison: Comparison


async def rebuild(at: Place, actor: Actor, *, whole: bool = False, progress: Progress = silent) -> Rebuilt:
    """From where the restored backup stood, or else (or ``whole``) from the first event that is kept. Opens the
    database at its end. Raises ``StackError``, ``Unavailable``; then it stays closed."""
    known = await at.database.identities.identity()
    require_free(known)
    if known is not None and known.standing is Standing.RESTORING:
        raise StackError(f"The database can't be rebuilt yet: {CLOSED[known.standing]}.")
    positions = known.positions if known else None
    backup_id = known.backup_id if known else None
    of = await span(at.log, EVENTS.name, None if whole or not positions else positions.get(EVENTS.name))
    async with (
        audited(at.log, actor, "database.rebuild", target=at.name) as action,
        hold(at.database, known, Standing.REBUILDING, backup_id=backup_id, positions=positions) as held,
    ):
        of = Span(of.first, await at.log.ends(EVENTS.name), of.cut)  # and what was announced until all had noticed
        await at.database.make_indexes()
        stored, read, unreadable = await bring_up_to_date(at, of, progress, held.sure)
        mender = _Mender(at)
        comparison = await compare(at, of, progress, held.sure, mender)
        stored.update(mender.mended)
        await held.opened()
        action.detail.update({name: str(count) for name, count in stored.items()})
    return Rebuilt(read, of.cut, unreadable, dict(stored), comparison)


async def bring_up_to_date(
    at: Place, of: Span, progress: Progress = silent, sure: Sure = alone
) -> tuple[Counter[str], int, int]:
    """Documents stored, by collection; records read, and how many of them can't be, or tell of what no document can
    hold: the ledger has told none of those. Raises ``Unavailable``."""
    stored, read, unreadable = Counter[str]({JOBS: 0, ACCOUNTS: 0}), 0, 0
    async for records in stretches(at.log, EVENTS.name, of):
        await sure()
        told = newest(records)
        for name in (ACCOUNTS, JOBS):
            found = [_document(one) for one in told.newest if one.collection == name]
            documents = [one for one in found if one is not None]
            stored[name] += await at.database.copies.store_newer(name, documents, "version")
            unreadable += len(found) - len(documents)
        read += len(records)
        unreadable += told.unreadable
        progress(Step("reading events", read, of.records))
    return stored, read, unreadable


class _Mender:
    """Puts what was announced in the place of a document that somebody damaged: of a job, of the very version; of an
    account, the newest, for what it lost since is told by the jobs."""

    def __init__(self, at: Place) -> None:
        self._copies = at.database.copies
        self.mended: Counter[str] = Counter()

    async def __call__(self, told: Announced) -> bool:
        """Killed in between, it is missing, and the next rebuild brings it back."""
        document = _document(told)
        if document is None:
            return False
        await self._copies.delete(told.collection, [told.document_id])
        await self._copies.add(told.collection, [document])
        self.mended[told.collection] += 1
        return True


def _document(told: Announced) -> dict[str, Any] | None:
    """None: it can't be stored. One record of that kind must not keep all others, and the database, from opening."""
    try:
        return to_document(told.value, told.document_id)
    except NotStorableError:
        return None
