"""``openv backup``: all documents into one file, with the positions in the log that they stand for.

While it reads, the system goes on. The positions and the applied offsets are read first: whatever was in the log
before them is in the documents that follow, because a document is stored before it is announced, and its command is
acknowledged after that. What a document is newer by changes nothing when it is read again from the log.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO
from uuid import uuid4

from operations.audit.recording import Actor, audited
from operations.core.recovery_table import HOLDINGS, unknown
from operations.recovery.backup_file import BackupWriter, Header, Manifest, is_ours
from operations.recovery.place import Place, Progress, Step, silent
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.core.identity import CLOSED
from schemas.identities import Identity, Standing
from schemas.topics import COMMANDS, EVENTS

STDOUT = Path("-")
READ_AT_FIRST, READ_AT_ONCE = 16, 500  # documents
BYTES_AT_ONCE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BackupMade:
    """A backup as it was written. ``size``: bytes of the file; None where it went elsewhere. ``left_out``: by
    collection, documents that OpenV never stored and that no restore could bring back."""

    file: Path
    header: Header
    manifest: Manifest
    size: int | None
    left_out: Mapping[str, int] = field(default_factory=dict)

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
    _require_new(file)
    async with audited(at.log, actor, "backup.create", target=at.name) as action:
        with _new_file(file) as out:
            header = Header(
                backup_id=str(uuid4()),
                openv_version=version("openv"),
                created_at=now_ms(),
                database=at.name,
                identity=identity.identity if identity else None,
                positions={topic.name: await at.log.ends(topic.name) for topic in (EVENTS, COMMANDS)},
                collections=tuple(one.name for one in HOLDINGS),
            )
            manifest, left_out = await _written(at, BackupWriter(out, header), progress)
            _require_same(identity, await at.database.identities.identity())
        action.detail["backupId"] = header.backup_id
        action.detail["documents"] = str(sum(one.documents for one in manifest.collections.values()))
        action.detail |= {"leftOut": str(left_out.total())} if left_out else {}
    return BackupMade(file, header, manifest, _size_of(file), dict(left_out))


async def _written(at: Place, writer: BackupWriter, progress: Progress) -> tuple[Manifest, Counter[str]]:
    left_out = Counter[str]()
    for one in HOLDINGS:
        writer.begin(one.name)
        done, pace = 0, _Pace()
        async for documents in at.database.copies.read(one.name, pace):
            kept = [document for document in documents if is_ours(document)]
            if len(kept) < len(documents):
                left_out[one.name] += len(documents) - len(kept)
            pace.saw(len(kept), await asyncio.to_thread(writer.add, kept))
            done += len(kept)
            progress(Step(one.name, done))
        writer.end()
    return await asyncio.to_thread(writer.close), left_out


class _Pace:
    """How many documents are read at once: as many as there is room for, by how large the last ones were."""

    def __init__(self) -> None:
        self._next = READ_AT_FIRST

    def __call__(self) -> int:
        return self._next

    def saw(self, documents: int, size: int) -> None:
        """So many had this size, in bytes."""
        if documents:
            self._next = max(1, min(2 * self._next, READ_AT_ONCE, BYTES_AT_ONCE * documents // max(1, size)))


def _size_of(file: Path) -> int | None:
    return None if file == STDOUT else file.stat().st_size


def _require_open(identity: Identity | None) -> None:
    if identity is not None and identity.standing is not Standing.OPEN:
        raise StackError(f"The database can't be backed up: {CLOSED[identity.standing]}.")


def _require_same(before: Identity | None, after: Identity | None) -> None:
    """A database that was lost or restored while it was read is half of one and half of another."""
    if before is not None and before != after:
        raise StackError("The database was replaced while it was read: make the backup again.")


def _require_new(file: Path) -> None:
    if file == STDOUT:
        if sys.stdout.isatty():
            raise StackError("Standard output is a terminal: name a file, or send it on (openv backup - | age …).")
    elif file.exists():
        raise StackError(f"{file} exists: name another file; a backup replaces none.")


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
    partial: Path | None = None
    try:
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            descriptor, partial = _opened(file)
            with os.fdopen(descriptor, "wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
                _name(f"/proc/self/fd/{out.fileno()}" if partial is None else partial, file, folder)
            with suppress(OSError):  # some file systems have no such thing
                os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StackError(f"{file} can't be written: {error.strerror}.") from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _opened(file: Path) -> tuple[int, Path | None]:
    """Its descriptor, and the name that it has meanwhile: none where the file system can do without, so that whoever is
    killed leaves nothing behind."""
    if Path("/proc/self/fd").is_dir():
        with suppress(OSError):  # a file system that can't
            return os.open(file.parent, os.O_WRONLY | os.O_TMPFILE, 0o600), None
    partial = file.with_name(f".{file.name}.{uuid4().hex[:8]}.partial")
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), partial


def _name(made: str | Path, file: Path, folder: int) -> None:
    """Give it its name, unless somebody else has taken that meanwhile."""
    try:
        os.link(made, file, src_dir_fd=folder)  # with a folder the link of a descriptor is followed
    except FileExistsError:
        raise StackError(f"{file} exists now: name another file; a backup replaces none.") from None
    except OSError:  # a file system without links
        if not isinstance(made, Path):
            raise
        if file.exists():
            raise StackError(f"{file} exists now: name another file; a backup replaces none.") from None
        made.rename(file)
