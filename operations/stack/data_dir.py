"""The data directory of a stack: who may use it, what lies where, and the small files in it.

``data-dir.json`` marks it as ours · ``lock`` holds the pid of the ``openv up`` that uses it · ``ports.json`` remembers
ports · ``credentials.json`` · ``stack.json`` describes the running stack · ``logs/`` · ``kafka/`` ``mongo/`` ``s3/``.
"""

import contextlib
import errno
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from operations.stack.errors import StackError
from operations.stack.space import full_disk, is_full

_MARK = "data-dir.json"
_FORMAT = 1
_LOCK_WITHIN_S = 0.5  # `openv status` holds the lock for an instant, to see whether it is free
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class DataDir:
    """An existing data directory, readable by its owner only. Every error of its methods is a ``StackError``."""

    def __init__(self, path: Path) -> None:
        """Opens the directory, made on first use; refuses a folder that holds something else."""
        self.path = path.expanduser().absolute()
        with self._in_words():
            self._make()

    @property
    def logs(self) -> Path:
        return self.folder("logs")

    def folder(self, name: str) -> Path:
        """A subdirectory, made when it is not there."""
        folder = self.path / name
        with self._in_words():
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one process that runs a stack here. The kernel lets go of it when that process dies."""
        with self._in_words():
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)  # never inherited: PEP 446
        try:
            if not _locked(handle):
                raise StackError(
                    f"OpenV already runs on {self.path} (process {_read_pid(handle) or 'unknown'}{self._at()}). "
                    f"Stop it with `openv down --data-dir {self.path}`, or use another folder with --data-dir."
                )
            with self._in_words():
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
                for unfinished in self.path.glob(".*.json.*"):  # of a process that was killed while it wrote
                    if not unfinished.name.startswith(f".{_MARK}."):
                        unfinished.unlink(missing_ok=True)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def holder(self) -> int | None:
        """The pid of the process that runs a stack here, ``None`` if none does or it has not said its pid yet."""
        try:
            handle = os.open(self.path / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._words(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(handle)
            return pid if pid is not None and _has_open(pid, os.fstat(handle)) else None
        else:
            return None
        finally:
            os.close(handle)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON object from a file of this directory, empty if there is no such file."""
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._words(error) from error
        except ValueError as error:
            raise StackError(f"{self.path / name} is damaged. Delete it; OpenV makes a new one.") from error
        if not isinstance(content, dict):
            raise StackError(f"{self.path / name} is damaged. Delete it; OpenV makes a new one.")
        return content

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replaces a JSON file whole (a reader sees the old or the new one), readable by its owner only."""
        with self._in_words():
            replace_file(self.path / name, json.dumps(content, indent=2) + "\n")

    def remove(self, name: str) -> None:
        """Deletes a file of this directory, if it is there."""
        with self._in_words():
            (self.path / name).unlink(missing_ok=True)

    def credential(self, name: str, make: Callable[[], str]) -> str:
        """The secret of this name, made and kept at first use. Call it from the process that holds the lock."""
        secrets = self.read("credentials.json")
        value = secrets.get(name)
        if not isinstance(value, str):
            value = make()
            self.write("credentials.json", {**secrets, name: value})
        return value

    def _at(self) -> str:
        """Where the stack that runs here answers, as far as it has said so."""
        with contextlib.suppress(StackError):
            return f", {self.read('stack.json')['url']}" if "url" in self.read("stack.json") else ""
        return ""

    def _check_format(self) -> None:
        """Refuses a directory that a newer OpenV has made, and one whose mark can't be read."""
        mark = self.path / _MARK
        try:
            made_with = json.loads(mark.read_text(encoding="utf-8"))["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise StackError(
                f"{mark} is damaged. If {self.path} is a data directory of OpenV, write "
                f"{json.dumps({'format': _FORMAT})} into that file; otherwise choose another with --data-dir."
            ) from error
        if made_with != _FORMAT:
            raise StackError(
                f"{self.path} was made by another version of OpenV (format {made_with}; this one knows {_FORMAT}). "
                f"Start that version, or use another folder with --data-dir."
            )

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if not self.path.is_dir():
                raise
        if (self.path / _MARK).exists():
            self._check_format()
            return
        strangers = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith(f".{_MARK}."))
        if strangers and not (self.path / _MARK).exists():  # looked at again: another start may just have made it
            raise StackError(
                f"{self.path} holds other files ({strangers[0]}, for one) and is no data directory of OpenV. "
                f"Choose an empty or a new folder with --data-dir."
            )
        self.path.chmod(0o700)
        replace_file(self.path / _MARK, json.dumps({"format": _FORMAT}) + "\n")

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._words(error) from error

    def _words(self, error: OSError) -> StackError:
        where = error.filename if isinstance(error.filename, str) else str(error.filename or self.path)
        if is_full(error):
            return full_disk(self.path)
        if error.errno in _FORBIDDEN:
            return StackError(f"{where} can't be written. Give it to your user, or use another folder with --data-dir.")
        if error.errno == errno.EEXIST and self.path.is_symlink():
            return StackError(
                f"{where} is a link to {self.path.readlink()}, which is not there. Make that folder, or choose "
                f"another data directory with --data-dir."
            )
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return StackError(f"{where} is not a folder. Choose another data directory with --data-dir.")
        return StackError(f"{where} can't be used: {error.strerror}. Choose another data directory with --data-dir.")


def replace_file(path: Path, text: str) -> None:
    """Writes a file of mode 0600 in one step: whole on the disk before it takes its name. Raises ``OSError``."""
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def is_data_dir(path: Path) -> bool:
    """Whether a data directory of OpenV is there; writes nothing. Raises ``StackError`` where that can't be seen."""
    try:
        return stat.S_ISREG((path.expanduser() / _MARK).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StackError(f"{path} can't be read: {error.strerror}. Choose another with --data-dir.") from error


def _locked(handle: int) -> bool:
    """Takes the lock; False where another holds it and does not let go in a moment."""
    deadline = time.monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether that process has this file open: a pid left by a dead stack may be a stranger's by now."""
    descriptors = Path(f"/proc/{pid}/fd")
    if not Path("/proc/self/fd").is_dir():
        return True  # not Linux: the pid is all there is
    try:
        for descriptor in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(descriptor.stat(), file):
                    return True
    except PermissionError:
        return True  # another user's: no signal will reach it anyway
    except OSError:
        return False
    return False


def _read_pid(handle: int) -> int | None:
    text = os.pread(handle, 32, 0).strip()
    return int(text) if text.isdigit() else None
