"""Where attempts keep their files until they are stored: a directory of this process's own, gone when it ends.

A killed process leaves its directory behind. Each is guarded by a file that its owner holds locked (flock), so the next
worker on the machine can tell which have no owner any more, and deletes those. A lock ends with its process, always.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from repo.environment import SettingsError

LOCK = ".lock"

log = structlog.get_logger()


class WorkDir:
    """``with WorkDir(root) as work``. Raises ``SettingsError`` where the root can't be used."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            _prepare(self._root)
            _sweep(self._root)
            self._lock, self._path = _claim(self._root)
        except OSError as error:
            raise SettingsError(
                f"OPENV_WORK_DIR: {self._root} can't be used ({error.strerror}); name a folder that is this user's own."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.with_suffix(LOCK).unlink(missing_ok=True)
        os.close(self._lock)

    @property
    def path(self) -> Path:
        """This process's directory."""
        return self._path

    def attempt_dir(self) -> Path:
        """A new, empty directory. Raises OSError."""
        return Path(tempfile.mkdtemp(prefix="attempt-", dir=self._path))


def _prepare(root: Path) -> None:
    """Make the root for this user alone. In a shared folder such as /tmp, another user may have made it before."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(0, "it belongs to another user")


def _claim(root: Path) -> tuple[int, Path]:
    """A locked lock file and the directory beside it."""
    while True:
        path = root / f"worker-{secrets.token_hex(6)}"
        guard = path.with_suffix(LOCK)
        descriptor = os.open(guard, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _still_there(descriptor, guard):
                path.mkdir(mode=0o700)
                return descriptor, path
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another worker took it for abandoned in the moment before it was locked


def _still_there(descriptor: int, guard: Path) -> bool:
    try:
        return guard.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _sweep(root: Path) -> None:
    """Delete what killed workers left."""
    for guard in sorted(root.glob(f"worker-*{LOCK}")):
        try:
            descriptor = os.open(guard, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # its owner is just leaving
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # alive
        else:
            shutil.rmtree(guard.with_suffix(""), ignore_errors=True)
            guard.unlink(missing_ok=True)
            log.info("leftovers_deleted", directory=guard.stem)
        finally:
            os.close(descriptor)
