"""What a process has used, from the kernel's own books (``proc(5)``; Linux only).

CPU time is disturbed by a busy machine far less than the clock on the wall.
"""

import os
from collections.abc import Callable
from pathlib import Path

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


def cpu_seconds(pid: int) -> float:
    """Time on a processor, of all its threads that live; to the nanosecond, where ``stat`` counts in hundredths."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text().split()[0])
        except FileNotFoundError:  # it ended in this moment
            continue
    return total / 1e9


def meter(pid: int) -> Callable[[], float]:
    """The CPU seconds that it has used since now."""
    before = cpu_seconds(pid)
    return lambda: cpu_seconds(pid) - before


def resident_kib(pid: int) -> float:
    """Memory that it holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB
