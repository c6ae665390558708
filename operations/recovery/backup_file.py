"""The file of a backup: gzip; a header, then each collection's documents, one a line, then what must have been there.

Lines that begin with ``#`` are the file's own: ``#header``, ``#collection``, ``#end`` and ``#manifest``, each followed
by JSON; all others are documents, in MongoDB's canonical Extended JSON, so that types survive. A file without its
manifest was cut off. The digests tell damage, not forgery.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Annotated, Any

import bson
import orjson
from bson import Code, DBRef
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from bson.json_util import CANONICAL_JSON_OPTIONS, JSONMode, JSONOptions, dumps, loads
from pydantic import Field, ValidationError

from operations.core.printable import printable
from operations.core.recovery_table import TABLE
from operations.stack.errors import StackError
from schemas.instants import Instant
from schemas.shape import from_json, shape, to_json

FORMAT = "openv-backup"
VERSION = 1
LINE_MAX = 128 * 1024 * 1024  # a document of 16 MiB, written out
READ_AT_ONCE = 500  # lines, and what these have together unless one alone has more
BYTES_AT_ONCE = 16 * 1024 * 1024
DOCUMENT_MAX = 16 * 1024 * 1024  # MongoDB's own limits; what breaks one is refused when the database is closed already
DEPTH_MAX = 100
# A date beyond the calendar, which the database may hold, comes back as it was.
_READING = JSONOptions(
    json_mode=JSONMode.CANONICAL, tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
Document = dict[str, Any]
Word = Annotated[str, Field(max_length=100)]
Offset = Annotated[int, Field(ge=0, lt=2**63)]
Offsets = Annotated[Mapping[Annotated[int, Field(ge=0, lt=2**31)], Offset], Field(max_length=100_000)]


@shape
class Header:
    """``positions``: of ``openv.events`` and ``openv.commands``, by partition, the next offset when the backup began:
    its documents are as new as that, or newer. ``identity``: of the database that it was made of.
    """

    format: str = FORMAT
    format_version: int = VERSION
    backup_id: Word
    openv_version: Word
    created_at: Instant
    database: Word
    identity: Word | None = None
    positions: Annotated[Mapping[Word, Offsets], Field(max_length=10)] = field(default_factory=dict)
    collections: tuple[str, ...]


@shape
class Held:
    """What a file holds of a collection: how many documents, and the SHA-256 of their lines."""

    documents: int
    sha256: str


@shape
class Manifest:
    """The file's last line. ``header_sha256`` is of the header's line."""

    header_sha256: str
    collections: Mapping[str, Held]


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that is whole."""

    header: Header
    manifest: Manifest

    @property
    def documents(self) -> int:
        """All that it holds."""
        return sum(one.documents for one in self.manifest.collections.values())


class BackupWriter:
    """Writes a backup in one pass; the caller closes ``out``. Level 1: most of the gain at a fraction of the time."""

    def __init__(self, out: IO[bytes], header: Header) -> None:
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=out, mtime=0)
        line = b"#header " + to_json(header) + b"\n"
        self._header_sha256 = hashlib.sha256(line).hexdigest()
        self._held: dict[str, Held] = {}
        self._gzip.write(line)

    def begin(self, collection: str) -> None:
        """The documents that follow are of this one."""
        self._name, self._count, self._sha256 = collection, 0, hashlib.sha256()
        self._gzip.write(b"#collection " + orjson.dumps(collection) + b"\n")

    def add(self, documents: Sequence[Document]) -> int:
        """These belong to the collection. How many bytes they have as lines."""
        lines = "".join(f"{dumps(one, json_options=CANONICAL_JSON_OPTIONS)}\n" for one in documents).encode()
        self._gzip.write(lines)
        self._sha256.update(lines)
        self._count += len(documents)
        return len(lines)

    def end(self) -> Held:
        """The collection is complete."""
        held = self._held[self._name] = Held(documents=self._count, sha256=self._sha256.hexdigest())
        self._gzip.write(b"#end " + to_json(held) + b"\n")
        return held

    def close(self) -> Manifest:
        """The file is complete."""
        manifest = Manifest(header_sha256=self._header_sha256, collections=self._held)
        self._gzip.write(b"#manifest " + to_json(manifest) + b"\n")
        self._gzip.close()
        return manifest


def read(source: IO[bytes]) -> Iterator[Header | tuple[str, list[bytes]] | Manifest]:
    """The header, then lines of documents with their collection's name, then the manifest. Raises ``StackError`` for
    what is no such file, is of a later form, or is damaged; by then the caller may have had most of it."""
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as lines:
            yield from _Reading(lines).parts()
    except (EOFError, zlib.error, gzip.BadGzipFile, ValidationError, orjson.JSONDecodeError) as error:
        raise StackError(f"It is no backup, or it is damaged or cut off ({type(error).__name__}).") from None


class _Reading:
    """One pass over a file."""

    def __init__(self, lines: gzip.GzipFile) -> None:
        self._lines = lines
        self._seen: dict[str, Held] = {}

    def parts(self) -> Iterator[Header | tuple[str, list[bytes]] | Manifest]:
        first = self._line()
        header = _header(first)
        yield header
        while (line := self._line()).startswith(b"#collection "):
            name = orjson.loads(line.removeprefix(b"#collection "))
            if name not in header.collections or name not in TABLE or name in self._seen:
                raise StackError("It holds a collection that its header does not name.")
            yield from self._collection(name)
        manifest = from_json(Manifest, _of(line, b"#manifest "))
        whole = manifest.header_sha256 == hashlib.sha256(first).hexdigest() and manifest.collections == self._seen
        if not whole or set(self._seen) != set(header.collections) or self._lines.read(1):
            raise StackError("It is damaged: what it holds is not what it was made with.")
        yield manifest

    def _collection(self, name: str) -> Iterator[tuple[str, list[bytes]]]:
        digest, count, size, batch = hashlib.sha256(), 0, 0, list[bytes]()
        while (line := self._line()).startswith(b"{"):
            digest.update(line)
            count += 1
            batch.append(line)
            size += len(line)
            if len(batch) == READ_AT_ONCE or size >= BYTES_AT_ONCE:
                yield name, batch
                size, batch = 0, []
        if batch:
            yield name, batch
        held = self._seen[name] = Held(documents=count, sha256=digest.hexdigest())
        if from_json(Held, _of(line, b"#end ")) != held:
            raise StackError(f"It is damaged: its {name} are not what it was made with.")

    def _line(self) -> bytes:
        line = self._lines.readline(LINE_MAX)
        if not line.endswith(b"\n"):
            raise StackError("It is cut off, or no backup." if len(line) < LINE_MAX else "It holds a line without end.")
        return line


def _of(line: bytes, mark: bytes) -> bytes:
    if not line.startswith(mark):
        raise StackError("It is damaged: a line stands where another belongs.")
    return line.removeprefix(mark)


def _header(line: bytes) -> Header:
    if not line.startswith(b"#header "):
        raise StackError("It is no backup of OpenV.")
    told = orjson.loads(line.removeprefix(b"#header "))
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise StackError("It is no backup of OpenV.")
    named = told.get("collections", [])
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise StackError("It is damaged: its header names no collections.")
    if told.get("formatVersion") != VERSION or set(named) - set(TABLE):
        maker = printable(str(told.get("openvVersion"))[:40])
        raise StackError(
            f"It was made by OpenV {maker}, whose backups hold what this one does not know: restore it "
            "with that version."
        )
    return from_json(Header, line.removeprefix(b"#header "))


def documents_of(lines: Sequence[bytes]) -> list[Document]:
    """The documents of lines. Raises ``StackError`` for what MongoDB would not store; what is wrong is not quoted."""
    return [_document(line) for line in lines]


def _document(line: bytes) -> Document:
    # Whoever forges a line chooses among the errors of a JSON parser, a codec, decimals, dates and the stack.
    try:
        found = loads(line, json_options=_READING)
        if not isinstance(found, dict) or not isinstance(found.get("_id"), str):
            raise StackError("It holds a document without a name.")
        size = len(bson.encode(found))
    except (BSONError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise StackError(f"It holds a line that is no document ({type(error).__name__}).") from None
    if size > DOCUMENT_MAX or any(name.startswith("$") for name in found) or not _is_plain(found, DEPTH_MAX):
        raise StackError("It holds a document that MongoDB does not store: it is too large, too deep, or a command.")
    return found


def is_ours(document: Document) -> bool:
    """Whether OpenV may have stored it, so that it can be restored. What somebody put there by hand may have an id that
    is no text, or names that mean something else in a file."""
    return isinstance(document["_id"], str) and _is_plain(document, DEPTH_MAX) and not _has_marks(document)


def _has_marks(value: Any) -> bool:
    if isinstance(value, dict):
        return any(name.startswith("$") or _has_marks(one) for name, one in value.items())
    return isinstance(value, list) and any(_has_marks(one) for one in value)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it is nested no deeper, and holds neither code nor references, which no document of OpenV does."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(one, depth - 1) for one in inner)
    return not isinstance(value, Code | DBRef)
