"""``openv backup``: all documents into one file, with the positions in the log that they stand for.

While it reads, the system goes on. The positions and the applied offsets are read first: whatever was in the log
before them is in the documents that follow, because a document is stored before it is announced, and its command is
acknowledged after that. What a document is newer by changes nothing when it is read again from the log.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO
from uuid import uuid4

from operations.audit import Actor, audited
from operations.core.recovery_table import HOLDINGS, unknown
from operations.recovery.backup_file import BackupWriter, Header, Manifest
from operations.recovery.place import Place, Progress, Step, silent
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.core.identity import CLOSED
from schemas.identities import Identity, Standing
from schemas.topics import COMMANDS, EVENTS

STDOUT = Path("-")
READ_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class BackupMade:
    """A backup as it was written. ``size``: bytes of the file; None where it went elsewhere."""

    file: Path
    header: Header
    manifest: Manifest
    size: int | None

    @property
    def counts(self) -> Mapping[str, int]:
        """Documents by collection."""
        return {name: held.documents for name, held in self.manifest.collections.items()}


async def backup(at: Place, actor: Actor, file: Path, progress: Progress = silent) -> BackupMade:
    """Write the file (``-``: standard output). Raises ``StackError``, ``Unavailable``; then there is no file."""
    identity = await at.database.identities.identity()
    _require_open(identity)
    copies = at.database.copies
    strange = [name for name in unknown(await copies.names()) if not await copies.is_empty(name)]
    if strange:
        raise StackError(
            f"The database holds {', '.join(strange)}, which this OpenV does not know: back it up with the version "
            "that runs on it, or give OpenV a database of its own."
        )
    with _new_file(file) as out:
        async with audited(at.log, actor, "backup.create", target=at.name) as action:
            header = Header(
                backup_id=str(uuid4()),
                openv_version=version("openv"),
                created_at=now_ms(),
                database=at.name,
                identity=identity.identity if identity else None,
                positions={topic.name: await at.log.ends(topic.name) for topic in (EVENTS, COMMANDS)},
                collections=tuple(one.name for one in HOLDINGS),
            )
            manifest = await _written(at, BackupWriter(out, header), progress)
            _require_same(identity, await at.database.identities.identity())
            action.detail["backupId"] = header.backup_id
            action.detail["documents"] = str(sum(one.documents for one in manifest.collections.values()))
    return BackupMade(file, header, manifest, _size_of(file))


async def _written(at: Place, writer: BackupWriter, progress: Progress) -> Manifest:
    for one in HOLDINGS:
        writer.begin(one.name)
        done = 0
        async for documents in at.database.copies.read(one.name, READ_AT_ONCE):
            await asyncio.to_thread(writer.add, documents)
            done += len(documents)
            progress(Step(one.name, done))
        writer.end()
    return await asyncio.to_thread(writer.close)


def _size_of(file: Path) -> int | None:
    return None if file == STDOUT else file.stat().st_size


def _require_open(identity: Identity | None) -> None:
    if identity is not None and identity.standing is not Standing.OPEN:
        raise StackError(f"The database can't be backed up: {CLOSED[identity.standing]}.")


def _require_same(before: Identity | None, after: Identity | None) -> None:
    """A database that was lost or restored while it was read is half of one and half of another."""
    if before is not None and before != after:
        raise StackError("The database was replaced while it was read: make the backup again.")


@contextmanager
def _new_file(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when all of it is on the disk; it replaces none. Mode 0600."""
    if file == STDOUT:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:  # whoever read it went away
            raise StackError(f"The backup can't be written: {error.strerror}.") from None
        return
    if file.exists():
        raise StackError(f"{file} exists: name another file; a backup replaces none.")
    partial = file.with_name(f".{file.name}.{uuid4().hex[:8]}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise StackError(f"{file} can't be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _name(partial, file)
    except OSError as error:
        raise StackError(f"{file} can't be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)


def _name(partial: Path, file: Path) -> None:
    """Give it its name, unless somebody else has taken that meanwhile."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise StackError(f"{file} exists now: name another file; a backup replaces none.") from None
    except OSError:  # a file system without links
        if file.exists():
            raise StackError(f"{file} exists now: name another file; a backup replaces none.") from None
        partial.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    with suppress(OSError):  # some file systems have no such thing
        os.fsync(folder)
    os.close(folder)
