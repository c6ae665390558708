"""Keeps the logs of a local stack small: each takes at most about twice its cap, in two files."""

import asyncio
import os
import shutil
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Literal

PRIVATE = 0o600  # they tell of users and jobs, and of one-time links
CAP_BYTES = 10 * 1024 * 1024
_LOOK_EVERY_S = 10.0


def open_log(log: Path, mode: Literal["ab", "wb"]) -> BufferedWriter:
    """A log that its owner alone reads, also where an older version made it for all. Raises ``OSError``."""
    return open(log, mode, opener=_private)


def _private(path: str, flags: int) -> int:
    handle = os.open(path, flags, PRIVATE)
    with suppress(OSError):  # another's
        os.fchmod(handle, PRIVATE)
    return handle


def set_aside(log: Path) -> None:
    """Before a part is started: its log becomes ``.1`` once it is large."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > CAP_BYTES:
            log.replace(_aside(log))


async def keep_small(folder: Path) -> None:
    """Returns never: does the same for logs that are being written, by copying them aside and emptying them.

    Parts append to their logs, so that they go on at the new end. What is written between the two is lost.
    """
    while True:
        await asyncio.to_thread(_empty_large_ones, folder)
        await asyncio.sleep(_LOOK_EVERY_S)


def _empty_large_ones(folder: Path) -> None:
    for log in folder.glob("*.log"):
        with suppress(OSError):
            if log.stat().st_size > CAP_BYTES:
                shutil.copy(log, _aside(log))  # with its mode
                os.truncate(log, 0)


def _aside(log: Path) -> Path:
    return log.with_name(log.name + ".1")
