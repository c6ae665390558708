"""Who executes a replay: one run of one process, and whether it can still be alive.

A process that was killed can't end its lease. On its own machine it is known to be gone at once (its number, and when
it began, in the same set of processes); elsewhere its lease has to run out.
"""

import os
import secrets
from pathlib import Path


def this_run() -> str:
    """A name for this run of this process."""
    return f"{_machine()}/{os.getpid()}/{_began(os.getpid())}/{secrets.token_hex(4)}"


def is_gone(holder: str) -> bool:
    """Whether its process certainly is no more."""
    machine, _, run = holder.partition("/")
    pid, _, rest = run.partition("/")
    began, _, _ = rest.partition("/")
    return machine == _machine() and pid.isdecimal() and began not in ("", "-") and _began(int(pid)) != began


def _machine() -> str:
    """This boot of this machine, and this container's set of processes; names nobody."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 -- a link to no file
    except OSError:
        return f"unknown:{secrets.token_hex(8)}"  # equal to no other: nobody is taken for dead


def _began(pid: int) -> str:
    """When the process began, in ticks since the boot; "-" where there is none, or it is dead already."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "-"
    return "-" if words[0] in "ZX" else words[19]
