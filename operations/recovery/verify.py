"""``openv rebuild --verify``: every job and account as it was last announced, against what is stored, member by member.

A document is stored before it is announced, so a stored one may be newer than what the log tells, never older. One that
is newer is no difference; what it is then is compared with no event.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operations.core.recovery_merge import Announced, differing, newest
from operations.core.recovery_table import ACCOUNTS, JOBS
from operations.recovery.events import Span, span, stretches
from operations.recovery.place import Place, Progress, Step, silent
from repo.core.documents import DamagedDocumentError, from_document
from schemas.accounts import Account
from schemas.jobs import Job
from schemas.topics import EVENTS

SHOWN = 1_000  # differences that are told one by one
_KINDS: Mapping[str, type[Job | Account]] = {JOBS: Job, ACCOUNTS: Account}


@dataclass(frozen=True, slots=True)
class Difference:
    """``members``: the paths that differ; none where the document is ``missing``, ``older`` or ``damaged``."""

    collection: str
    document_id: str
    announced: int
    stored: int | None
    what: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """``same``: documents that are as they were last announced, by collection. ``passed``: events whose document is
    newer. ``different`` counts all differences; ``shown`` are the first of them."""

    same: Mapping[str, int]
    passed: int
    unreadable: int
    different: int
    shown: tuple[Difference, ...]


async def verify(at: Place, progress: Progress = silent) -> Comparison:
    """All events that are kept, against what is stored now. Raises ``Unavailable``."""
    return await compare(at, await span(at.log, EVENTS.name, None), progress)


async def compare(at: Place, of: Span, progress: Progress = silent) -> Comparison:
    """Memory is bounded by what is shown. Raises ``Unavailable``."""
    same, passed, unreadable, different = Counter[str]({JOBS: 0, ACCOUNTS: 0}), 0, 0, 0
    shown: dict[tuple[str, str], Difference] = {}
    read = 0
    async for records in stretches(at.log, EVENTS.name, of):
        told = newest(records)
        for name in (JOBS, ACCOUNTS):
            wanted = [one for one in told.newest if one.collection == name]
            stored = await at.database.copies.documents(name, [one.document_id for one in wanted])
            for one in wanted:
                found = _compared(one, stored.get(one.document_id))
                if found is None:
                    newer = stored[one.document_id]["version"] > one.version
                    passed, same[name] = passed + newer, same[name] + (not newer)
                elif (name, one.document_id) not in shown:
                    different += 1
                    if len(shown) < SHOWN:
                        shown[name, one.document_id] = found
        unreadable += told.unreadable
        read += len(records)
        progress(Step("comparing", read, of.records))
    return Comparison(dict(same), passed, unreadable, different, tuple(shown.values()))


def _compared(told: Announced, stored: Mapping[str, Any] | None) -> Difference | None:
    """None: no difference."""
    at = (told.collection, told.document_id, told.version)
    if stored is None:
        return Difference(*at, None, "missing")
    version = stored.get("version")
    if not isinstance(version, int):
        return Difference(*at, None, "damaged", ("version",))
    if version < told.version:
        return Difference(*at, version, "older")
    if version > told.version:
        return None
    try:
        members = differing(told.value, from_document(_KINDS[told.collection], stored))
    except DamagedDocumentError:
        return Difference(*at, version, "damaged")
    return Difference(*at, version, "differs", tuple(members)) if members else None
