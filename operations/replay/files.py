"""Records in a file: one JSON object a line, behind a line that says what the file is. What is no text is base64.

They hold prompts: only the owner may read them. A file has its name once it is whole.
"""

import base64
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

import orjson

from operations.core.replay_names import FILE
from operations.core.replay_records import Headers, Readable
from operations.stack.errors import StackError

FORMAT = 1
MARK = "openvRecords"
LINE_MAX = 16 * 1024 * 1024
TOPIC_MAX = 249  # characters, as Kafka has it
_PARTITION_MAX = 2**31 - 1
_OFFSET_MAX = 10**18 - 1  # what the headers of a replay hold
_TIME_MAX = 2**63 - 1
_CHUNK = 1 << 20


class OutOfRangeError(ValueError):
    """A member of a line that no record can have; says which."""


@dataclass(frozen=True, slots=True)
class Line:
    """A record of a file. ``place``: where its line begins, in bytes; the rest as it was where it was read."""

    place: int
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def path_of(name: str) -> Path:
    """Of ``file:PATH``."""
    return Path(name.removeprefix(FILE)).expanduser().absolute()


def is_taken(path: Path) -> bool:
    """Whether something is there: a link that leads nowhere too."""
    return path.exists() or path.is_symlink()


def head(source: str) -> bytes:
    """The first line."""
    return orjson.dumps({MARK: FORMAT, "source": source}) + b"\n"


def as_line(record: Readable) -> bytes:
    """A record as it is written."""
    return orjson.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": _text(record.key),
            "headers": [[name, _text(value)] for name, value in record.headers],
            "value": _text(record.value),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _text(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(said: Any) -> bytes | None:
    if said is None:
        return None
    return said.encode() if isinstance(said, str) else base64.b64decode(said["base64"], validate=True)


def from_line(data: bytes, place: int) -> Line:
    """Raises ValueError for what is no record."""
    try:
        said = orjson.loads(data)
        headers = [(str(name), _bytes(value)) for name, value in said["headers"]]
        numbers = (said["partition"], said["offset"], said["timestamp"])
        if not isinstance(said["topic"], str) or not all(type(one) is int for one in numbers):
            raise TypeError
        _check_ranges(said["topic"], *numbers)
        return Line(place, said["topic"], *numbers, _bytes(said["key"]), _bytes(said["value"]), headers)
    except OutOfRangeError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no record: {type(error).__name__}") from None


def _check_ranges(topic: str, partition: int, offset: int, timestamp: int) -> None:
    """As Kafka could have given them; a record without a time has -1."""
    if not 0 < len(topic) <= TOPIC_MAX or "/" in topic:
        raise OutOfRangeError("no record: its topic's name can't be one")
    for name, number, least, most in (
        ("partition", partition, 0, _PARTITION_MAX),
        ("offset", offset, 0, _OFFSET_MAX),
        ("timestamp", timestamp, -1, _TIME_MAX),
    ):
        if not least <= number <= most:
            raise OutOfRangeError(f"no record: its {name} is not from {least} to {most}")


class LinesReader:
    """The lines of a file, from one place to another."""

    def __init__(self, path: Path, first: int, end: int) -> None:
        self._path = path
        self._end = end
        self._file = path.open("rb")
        self._file.seek(first)
        self.place = first

    def next(self, at_most: int) -> list[Line]:
        """Nothing at the end. Raises ``StackError`` for a line that is no record."""
        found: list[Line] = []
        while len(found) < at_most and self.place < self._end:
            data = self._file.readline(LINE_MAX)
            if not data.endswith(b"\n"):
                raise StackError(f"{self._path} is cut off, or no file of a replay: at byte {self.place}.")
            try:
                found.append(from_line(data, self.place))
            except ValueError as error:
                raise StackError(f"{self._path}, line {self._line():,}: {error}.") from None
            self.place += len(data)
        return found

    def _line(self) -> int:
        """Which one begins at ``place``, from 1: counted when somebody is to be told."""
        self._file.seek(0)
        sizes = (min(_CHUNK, self.place - at) for at in range(0, self.place, _CHUNK))
        return 1 + sum(self._file.read(size).count(b"\n") for size in sizes)

    def close(self) -> None:
        """Done with it."""
        self._file.close()


def measured(path: Path) -> tuple[int, int, str]:
    """Where its records begin and end, and its SHA-256. Raises ``StackError`` where it is no file of a replay."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise StackError(f"{path} is no file.")
        with path.open("rb") as file:
            first = file.readline(LINE_MAX)
            if not _is_head(first):
                raise StackError(f"{path} is no file that `openv replay --into file:…` wrote.")
            whole = hashlib.sha256(first)
            while data := file.read(_CHUNK):
                whole.update(data)
            return len(first), file.tell(), whole.hexdigest()
    except OSError as error:
        raise StackError(f"{path} can't be read: {error.strerror}.") from None


def _is_head(data: bytes) -> bool:
    try:
        said = orjson.loads(data)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get(MARK) == FORMAT


class LinesWriter:
    """Writes beside the file that is meant; ``close_whole`` gives it its name. One that is there is not replaced."""

    def __init__(self, path: Path, replay_id: str, source: str, size: int | None) -> None:
        """``size``: of what is there from a run before, all that counts of it. Raises ``StackError``."""
        self._path = path
        self._part = path.with_name(f"{path.name}.{replay_id}.part")
        self._file: BufferedRandom | BufferedReader
        if size and not self._part.exists() and path.exists():
            self._file = path.open("rb")  # it has its name already, and only that was not noted
            return
        try:
            flags = os.O_RDWR | os.O_NOFOLLOW | (0 if size else os.O_CREAT)
            self._file = os.fdopen(os.open(self._part, flags, 0o600), "r+b")
            _alone(self._file, self._part)
            if self._file.seek(0, os.SEEK_END) < (size or 0):
                raise StackError(f"{self._part} is shorter than it was: cancel this replay, and plan another.")
            self._file.truncate(size or 0)
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise StackError(f"{self._part} can't be written: {error.strerror}.") from None
        if not size:
            self._file.write(head(source))

    def write(self, records: Iterable[bytes]) -> int:
        """How long it is with them. Raises ``StackError`` where the disk is full."""
        try:
            self._file.writelines(records)
            return self._file.tell()
        except OSError as error:
            raise StackError(f"{self._part} can't be written: {error.strerror}.") from None

    def durable(self) -> None:
        """All of that is on the disk. As ``write``."""
        try:
            if not self._file.writable():
                return
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StackError(f"{self._part} can't be written: {error.strerror}.") from None

    def close(self) -> None:
        """What is not durable may be lost; it is written again then."""
        with suppress(OSError):
            self._file.close()

    def close_whole(self) -> None:
        """It gets its name."""
        if not self._file.writable():
            self._file.close()
            return
        self.durable()
        self._file.close()
        _finish(self._path, self._part)


def _alone(file: BufferedRandom, part: Path) -> None:
    """Raises ``StackError`` where another process has it: one that only stood still would go on where it was, and with
    two that write there is no whole line left. Who is killed lets go of it. Where files can't be locked the lease has
    to do."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StackError(f"Another process still has {part}: end it, and continue.") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise


def _finish(path: Path, part: Path) -> None:
    """Move it to its place. Raises ``StackError`` where somebody else's file has come to be there."""
    try:
        os.link(part, path)
    except FileExistsError:
        if not path.exists() or not path.samefile(part):  # or we were killed right behind the next line
            raise StackError(f"{path} is there already: move it away, and continue.") from None
    except OSError as error:
        raise StackError(f"{path} can't be written: {error.strerror}; all of it is in {part}.") from None
    part.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
