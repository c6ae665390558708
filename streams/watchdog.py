"""Ends the process when it is stuck, so that a supervisor starts a new one: nothing else frees a hung consumer.

Seen in runs of Faust: a worker that lost its group and said nothing, a partition whose commits stopped for good; its
own watchdogs only log. This one is a thread, because a blocked event loop can't watch itself.
"""

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from types import FrameType

import structlog

from streams.vitals import PartitionVitals, RoleVitals, Vitals, excuse

log = structlog.get_logger()

STUCK_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_LOOK_EVERY_S = 1.0
_FROZEN_S = 5.0  # between two looks: then this thread did not run either, and with it the whole process

_SAID_WITHIN_S = 10.0
_CALLS_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds without a sign of life; ``read_back``: looks in a row at which Faust had left records behind."""

    stall_s: float
    read_back: int = 3


def verdict(vitals: Vitals, now: float, limits: Limits) -> str | None:
    """Why the process has to end, or None while it is well. Waiting for a server is no reason."""
    if vitals.stopping:
        return None
    if now - vitals.loop_beat > limits.stall_s:
        return f"the event loop has been blocked for {now - vitals.loop_beat:.0f} s"
    for role in vitals.roles.values():
        reason = _role_verdict(role, now, limits)
        if reason is not None:
            return f"{role.role}: {reason}"
    return None


def _role_verdict(role: RoleVitals, now: float, limits: Limits) -> str | None:
    if role.waiting_for is not None:
        return None
    if role.unassigned_since is not None and now - role.unassigned_since > limits.stall_s:
        return f"no partitions assigned for {now - role.unassigned_since:.0f} s"
    if role.outside_since is not None and now - role.outside_since > limits.stall_s:
        return f"outside its consumer group for {now - role.outside_since:.0f} s"
    for number, partition in role.partitions.items():
        reason = _partition_verdict(partition, now, limits)
        if reason is not None:
            return f"partition {number}: {reason}"
    return None


def _partition_verdict(partition: PartitionVitals, now: float, limits: Limits) -> str | None:
    if partition.lag and now - partition.moved_at > limits.stall_s:
        return f"{partition.lag} records wait, and none was applied for {now - partition.moved_at:.0f} s"
    if partition.uncommitted and now - partition.committed_at > limits.stall_s:
        return f"no commit for {now - partition.committed_at:.0f} s after {partition.uncommitted} acknowledged records"
    if partition.read_back >= limits.read_back:
        return f"Faust left records undelivered {partition.read_back} times in a row"
    return None


def wake(vitals: Vitals, now: float) -> None:
    """The machine, or the container, was paused: what stood still meanwhile is not stuck."""
    vitals.loop_beat = now
    for role in vitals.roles.values():
        excuse(role, now)


class Watchdog:
    """The thread. ``end`` is called once, with the reason; by default it ends the process at once."""

    def __init__(self, vitals: Vitals, limits: Limits, end: "Callable[[str], None] | None" = None) -> None:
        self._vitals = vitals
        self._limits = limits
        self._end = end or end_process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._done.set()

    def _watch(self) -> None:
        looked_at = self._vitals.clock()
        while not self._done.wait(_LOOK_EVERY_S):
            now = self._vitals.clock()
            if now - looked_at > _FROZEN_S:
                wake(self._vitals, now)
            looked_at = now
            reason = verdict(self._vitals, now, self._limits)
            if reason is not None:
                self._end(reason)
                return


def end_process(reason: str, code: int = STUCK_EXIT_CODE) -> None:
    """Say why, and where every thread stands, in one line, and end: no cleanup, which could hang as well. Nothing more
    is acked."""
    with suppress(OSError, ValueError, RuntimeError):
        # Needs neither Python nor its locks: a thread that holds the log's, or the interpreter, keeps nobody here.
        faulthandler.dump_traceback_later(_SAID_WITHIN_S, exit=True, file=2)
    try:
        log.error("ending the process so that it is started anew", reason=reason, threads=stacks())
        sys.stderr.flush()
    finally:
        os._exit(code)


def stacks() -> dict[str, list[str]]:
    """By thread, where it stands, the innermost call first: files, lines and functions, and none of what passes through
    them."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {f"{names.get(ident, 'unknown')} {ident:#x}": _stack(top) for ident, top in sys._current_frames().items()}  # noqa: SLF001 -- the library's way


def _stack(top: FrameType) -> list[str]:
    frames = islice(traceback.walk_stack(top), _CALLS_SHOWN)
    return [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in frames]
