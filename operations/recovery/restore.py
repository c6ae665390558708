"""``openv restore``: a backup's documents into a database, which stays closed until ``openv rebuild`` opens it.

The whole file is read and checked before anything is written. A restore that was killed is run again: what it stored
is found there, and the rest is added.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from operations.audit.recording import Actor, audited
from operations.core.recovery_table import HOLDINGS, JOBS, OFFSETS, TABLE, Rule, is_restored
from operations.recovery.backup_file import Checked, Document, Header, Manifest, documents_of, read
from operations.recovery.place import Place, Progress, Step, Sure, alone, silent
from operations.recovery.standing import hold, require_free
from operations.stack.errors import StackError
from repo.mongo_copies import MongoCopies
from schemas.identities import Identity, Standing

T = TypeVar("T")


class Into(StrEnum):
    """What may be there already."""

    EMPTY = "empty"  # nothing, or what an interrupted restore of this very backup left
    MERGE = "merge"  # anything: the newer of two documents is kept
    REPLACE = "replace"  # anything: it is deleted


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: documents read and stored, by collection; ``left_out``: keys for one use."""

    checked: Checked
    into: Into
    stored: Mapping[str, int]
    left_out: int


async def checked(file: Path, progress: Progress = silent) -> Checked:
    """The file, if it is whole. Raises ``StackError``."""
    return await asyncio.to_thread(_check, file, progress)


async def restore(at: Place, actor: Actor, file: Path, into: Into, progress: Progress = silent) -> Restored:
    """Check the file, close the database, store the documents. Raises ``StackError``, ``Unavailable``."""
    whole = await checked(file, progress)
    header = whole.header
    known = await at.database.identities.identity()
    require_free(known)
    strays = into is Into.EMPTY and await _holds_strays(at, header, known)
    detail = {"backupId": header.backup_id, "into": into.value}
    cleared = [one.name for one in HOLDINGS if into is Into.REPLACE or (strays and one.name == OFFSETS)]
    async with (
        audited(at.log, actor, "database.restore", target=at.name, detail=detail) as action,
        # What is half deleted is no part of this backup yet: whoever runs it again has to say again what is to go.
        hold(at.database, known, Standing.RESTORING, backup_id=None if cleared else header.backup_id) as held,
    ):
        await at.database.make_indexes()
        for name in cleared:
            await held.sure()
            await at.database.copies.clear(name)
        await held.moved(Standing.RESTORING, backup_id=header.backup_id, positions=header.positions)
        stored, left_out = await store(at.database.copies, file, whole, progress, held.sure)
        await held.left(Standing.RESTORED)
        action.detail["stored"] = str(stored.total())
    return Restored(whole, into, dict(stored), left_out)


async def _holds_strays(at: Place, header: Header, identity: Identity | None) -> bool:
    """Whether the empty database holds something all the same. Raises ``StackError`` where it is not empty.

    A database that took a lost one's place may have got a last write that was under way to that: it has no identity
    then, and no job, for a job is stored only after its account was stored in the known database.
    """
    if identity is not None and identity.backup_id == header.backup_id and identity.standing is Standing.RESTORING:
        return False
    full = [one.name for one in HOLDINGS if not await at.database.copies.is_empty(one.name)]
    if full and (identity is not None or JOBS in full):
        raise StackError(
            f"The database {at.name} is not empty: it holds {', '.join(full)}. `openv restore --merge` keeps the newer "
            "of two documents and deletes none; `openv restore --replace` deletes all that is in it first."
        )
    return bool(full)


async def store(
    copies: MongoCopies, file: Path, whole: Checked, progress: Progress = silent, sure: Sure = alone
) -> tuple[Counter[str], int]:
    """Documents stored, by collection, and keys left out. The file is one that ``checked`` found whole."""
    stored, seen, left_out = Counter(dict.fromkeys(whole.manifest.collections, 0)), Counter[str](), 0
    parts = _parts(file)
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        if isinstance(part, Header | Manifest):
            if whole.header != part != whole.manifest:
                raise StackError(f"{file} was changed while it was read: restore again.")
            continue
        name, lines = part
        documents = await asyncio.to_thread(_documents, file, lines)
        kept = [one for one in documents if is_restored(name, one)]
        left_out += len(documents) - len(kept)
        await sure()
        stored[name] += await _stored(copies, name, kept)
        seen[name] += len(documents)
        progress(Step(name, seen[name], whole.manifest.collections[name].documents))
    return stored, left_out


async def _stored(copies: MongoCopies, name: str, documents: list[Document]) -> int:
    holding = TABLE[name]
    match holding.rule:
        case Rule.NEWER:
            return await copies.store_newer(name, documents, holding.member)
        case Rule.LOWER:
            return await copies.store_lower(name, documents, holding.member)
        case Rule.STORED:
            return await copies.add(name, documents)


def _check(file: Path, progress: Progress) -> Checked:
    header: Header | None = None
    seen = Counter[str]()
    for part in _parts(file):
        match part:
            case Header():
                header = part
            case Manifest() if header is not None:
                return Checked(header, part)
            case (str(name), list(lines)):
                _documents(file, lines)
                seen[name] += len(lines)
                progress(Step(f"checking {name}", seen[name]))
    raise StackError(f"{file} is no backup.")


def _documents(file: Path, lines: list[bytes]) -> list[Document]:
    try:
        return documents_of(lines)
    except StackError as error:
        raise StackError(f"{file} can't be restored. {error}") from None


def _parts(file: Path) -> Iterator[Header | tuple[str, list[bytes]] | Manifest]:
    def opened() -> Iterator[Header | tuple[str, list[bytes]] | Manifest]:
        with file.open("rb") as source:
            yield from read(source)

    return _saying(file, opened)


def _saying(file: Path, make: Callable[[], Iterator[T]]) -> Iterator[T]:
    try:
        yield from make()
    except StackError as error:
        raise StackError(f"{file} can't be restored. {error}") from None
    except OSError as error:
        raise StackError(f"{file} can't be read: {error.strerror or type(error).__name__}.") from None
