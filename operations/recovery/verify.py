"""``openv rebuild --verify``: every job and account as it was last announced, against what is stored, member by member.

A document is stored before it is announced, so a stored one may be newer than what the log tells, never older. One that
is newer is no difference; what it is then is compared with no event.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operations.core.recovery_merge import Announced, differing, newest
from operations.core.recovery_table import ACCOUNTS, JOBS
from operations.recovery.events import Span, span, stretches
from operations.recovery.place import Place, Progress, Step, Sure, alone, silent
from repo.core.documents import DamagedDocumentError, from_document
from schemas.accounts import Account
from schemas.jobs import Job
from schemas.topics import EVENTS

DAMAGED, OLDER = "damaged", "older"
Mend = Callable[[Announced], Awaitable[bool]]
PAGE = 500
SHOWN = 1_000  # differences that are told one by one
REMEMBERED = 200_000  # documents that events told of; of more it is not said how many are told of by none
_KINDS: Mapping[str, type[Job | Account]] = {JOBS: Job, ACCOUNTS: Account}


@dataclass(frozen=True, slots=True)
class Difference:
    """``members``: the paths that differ; none where the document is ``missing``, ``older`` or ``damaged``.
    ``announced`` None: it is damaged, and no event tells of it as new as it was."""

    collection: str
    document_id: str
    announced: int | None
    stored: int | None
    what: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """``same``: documents that are as they were last announced, by collection. ``passed``: events whose document is
    newer. ``different`` counts all that differ, past those ``shown`` (the first) once for each stretch of events that
    announces them. ``untold``: those of them that are damaged and of which no event tells.

    ``read``: records of the topic; ``stored``: how many documents there are, by collection; ``told_of``: how many of
    those these records tell of, and so are compared; None: there are too many to remember."""

    same: Mapping[str, int]
    passed: int
    unreadable: int
    different: int
    shown: tuple[Difference, ...]
    untold: int = 0
    read: int = 0
    stored: Mapping[str, int] = field(default_factory=dict)
    told_of: Mapping[str, int] | None = None


async def verify(at: Place, progress: Progress = silent) -> Comparison:
    """All events that are kept, against what is stored now. Raises ``Unavailable``."""
    return await compare(at, await span(at.log, EVENTS.name, None), progress)


async def compare(
    at: Place, of: Span, progress: Progress = silent, sure: Sure = alone, mend: Mend | None = None
) -> Comparison:
    """Memory is bounded by what is shown and remembered. ``mend`` is given what was told of each document that can't be
    read; where it stored that, it is no difference. Raises ``Unavailable``."""
    same, passed, unreadable, different = Counter[str]({JOBS: 0, ACCOUNTS: 0}), 0, 0, 0
    shown: dict[tuple[str, str], Difference] = {}
    damaged: set[tuple[str, str]] = set()
    mended: set[tuple[str, str]] = set()
    remembered = _Remembered()
    read = 0
    async for records in stretches(at.log, EVENTS.name, of):
        await sure()
        told = newest(records)
        remembered.add(told.newest)
        for name in (JOBS, ACCOUNTS):
            wanted = [one for one in told.newest if one.collection == name]
            stored = await at.database.copies.documents(name, [one.document_id for one in wanted])
            for one in wanted:
                found, key = _compared(one, stored.get(one.document_id)), (name, one.document_id)
                if found is not None and await _mended(found, one, mend, again=key in mended):
                    same[name] += key not in mended
                    mended.add(key)
                elif found is None:
                    newer = stored[one.document_id]["version"] > one.version
                    passed, same[name] = passed + newer, same[name] + (not newer)
                elif key not in shown:
                    different += key not in damaged
                    damaged |= {key} if found.what == DAMAGED else set()
                    if len(shown) < SHOWN:
                        shown[key] = found
        unreadable += told.unreadable
        read += len(records)
        progress(Step("comparing", read, of.records))
    untold = 0
    async for key in _damaged(at, sure, remembered):
        untold += key not in damaged
        if len(shown) < SHOWN:
            shown.setdefault(key, Difference(*key, None, None, DAMAGED))
    return Comparison(
        dict(same), passed, unreadable, different + untold, tuple(shown.values()), untold,
        read, dict(remembered.stored), remembered.told_of,
    )  # fmt: skip


class _Remembered:
    """Which documents were told of, by the hashes of their names, as long as there are not too many."""

    def __init__(self) -> None:
        self.stored = Counter[str]({JOBS: 0, ACCOUNTS: 0})
        self._told = Counter[str]({JOBS: 0, ACCOUNTS: 0})
        self._names: set[int] | None = set()

    @property
    def told_of(self) -> dict[str, int] | None:
        """Of those looked up, by collection."""
        return None if self._names is None else dict(self._told)

    def add(self, told: Iterable[Announced]) -> None:
        """Remember these."""
        if self._names is not None:
            self._names.update(hash((one.collection, one.document_id)) for one in told)
            if len(self._names) > REMEMBERED:
                self._names = None

    def look_up(self, name: str, ids: Sequence[str]) -> None:
        """Count documents that are stored."""
        self.stored[name] += len(ids)
        if self._names is not None:
            self._told[name] += sum(hash((name, one)) in self._names for one in ids)


async def _mended(found: Difference, told: Announced, mend: Mend | None, *, again: bool) -> bool:
    """``again``: it was mended with what an earlier stretch told."""
    return mend is not None and (found.what == DAMAGED or (found.what == OLDER and again)) and await mend(told)


async def _damaged(at: Place, sure: Sure, remembered: _Remembered) -> AsyncIterator[tuple[str, str]]:
    """Every job and account that can't be read, whatever was announced: each is looked at once, in pages, which are
    looked up in what is ``remembered``."""
    last: str | None = ""
    while last is not None:
        await sure()
        jobs = await at.database.upkeep.jobs_after(last, PAGE)
        remembered.look_up(JOBS, [*(one.job_id for one in jobs.jobs), *jobs.damaged])
        for document_id in jobs.damaged:
            yield JOBS, document_id
        last = jobs.last
    after, more = None, True
    while more:
        await sure()
        accounts = await at.database.jobs.accounts(after=after, limit=PAGE)
        remembered.look_up(ACCOUNTS, [*(one.user_id for one in accounts.accounts), *accounts.damaged])
        for document_id in accounts.damaged:
            yield ACCOUNTS, document_id
        after, more = accounts.last, accounts.last is not None


def _compared(told: Announced, stored: Mapping[str, Any] | None) -> Difference | None:
    """None: no difference."""
    at = (told.collection, told.document_id, told.version)
    if stored is None:
        return Difference(*at, None, "missing")
    version = stored.get("version")
    if not isinstance(version, int):
        return Difference(*at, None, DAMAGED, ("version",))
    if version < told.version:
        return Difference(*at, version, OLDER)
    if version > told.version and told.collection == JOBS:  # its older form would have it made again: see _damaged
        return None
    try:
        found = from_document(_KINDS[told.collection], stored)
    except DamagedDocumentError:
        return Difference(*at, version, DAMAGED)
    if version > told.version:
        return None
    members = differing(told.value, found)
    return Difference(*at, version, "differs", tuple(members)) if members else None
