"""Room on the disk below a data directory: asked before a start, while it runs, and when a part has died."""

import asyncio
import errno
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from operations.stack.errors import StackError

_MIB = 1 << 20
_LEAST_FREE = 128 * _MIB
_SHARE = 64  # SeaweedFS takes no more files once less than a hundredth of the disk is free: ask for a little more
_OUT_BELOW = 4 * _MIB
_LOOK_EVERY_S = 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAYS_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True)
class Room:
    """Bytes that are free for this user, and how many the embedded servers want free."""

    free: int
    wanted: int

    @property
    def is_enough(self) -> bool:
        return self.free >= self.wanted

    @property
    def is_out(self) -> bool:
        """So little that a server that died has died of it."""
        return self.free < _OUT_BELOW


def room_of(path: Path) -> Room:
    """Raises ``OSError`` where the folder is not there."""
    usage = shutil.disk_usage(path)
    return Room(usage.free, max(_LEAST_FREE, usage.total // _SHARE))


def require_room(path: Path) -> None:
    """Raises ``StackError`` where the disk has not enough room to start the embedded servers."""
    if not room_of(path).is_enough:
        raise full_disk(path)


def full_disk(path: Path) -> StackError:
    """The sentence for a full disk."""
    try:
        room = room_of(path)
    except OSError:
        return StackError(f"The disk that holds {path} is full. Free some space there and start again.")
    return StackError(
        f"The disk that holds {path} is full ({room.free // _MIB} MiB free): "
        f"free at least {room.wanted // _MIB} MiB there and start again; what was stored is kept."
    )


def unwritable(what: str, path: Path, error: OSError) -> StackError:
    """The sentence for a folder or file that could not be written; ``what`` begins it: "Kafka's folder"."""
    if is_full(error):
        return full_disk(path)
    return StackError(f"{what} {path} can't be written: {error.strerror}.")


def is_full(error: OSError) -> bool:
    return error.errno in _FULL


def out_of_room(path: Path, said: str) -> StackError | None:
    """The reason not to start a dead part again, from the disk and the end of what the part printed."""
    try:
        is_out = room_of(path).is_out
    except OSError:
        return None
    return full_disk(path) if is_out or _SAYS_FULL.search(said) else None


async def watch_room(path: Path, say: Callable[[str], None]) -> None:
    """Returns never; says once when the disk runs full, and once when there is room again."""
    said = False
    while True:
        try:
            room = room_of(path)
        except OSError:
            room = Room(0, 0)  # the folder itself is gone: its owners say so
        if not room.is_enough and not said:
            say(
                f"The disk that holds {path} is nearly full ({room.free // _MIB} MiB free): free at least "
                f"{room.wanted // _MIB} MiB there, or new videos can't be stored."
            )
        elif room.is_enough and said:
            say(f"The disk that holds {path} has room again.")
        said = not room.is_enough
        await asyncio.sleep(_LOOK_EVERY_S)
