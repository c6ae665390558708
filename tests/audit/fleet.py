"""The stream processors under audit: started, stopped, killed and suspended on purpose; any other end is a fault."""

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.streams.streams_process import StreamsProcess

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 30.0
NEVER_LOGGED = ("unexpected failure", "message to the dead letters", "could not run", "pool is loaded again")


class Fleet:
    """Real processes, all roles in each unless started otherwise. ``made`` is the class to start: tests sabotage it."""

    def __init__(
        self, environment: Mapping[str, str], folder: Path, made: type[StreamsProcess] = StreamsProcess
    ) -> None:
        self._environment = environment
        self._folder = folder
        self._made = made
        self._number = 0
        self._said: Counter[str] = Counter()
        self.alive: list[StreamsProcess] = []
        self.faults: list[str] = []

    def start(self, *arguments: str) -> StreamsProcess:
        """Another process; it is not ready yet."""
        self._number += 1
        one = self._made(self._environment, self._folder / f"streams-{self._number:04}.log", *arguments)
        self.alive.append(one)
        return one

    async def stop(self, one: StreamsProcess) -> None:
        """SIGTERM; it must end by itself, with 0."""
        self.alive.remove(one)
        try:
            code = await one.terminate(STOP_WITHIN_S)
        except Exception:  # noqa: BLE001 -- subprocess's own timeout; the fault says it
            self.faults.append(f"{one.log.name}: did not end within {STOP_WITHIN_S:g} s of SIGTERM")
        else:
            if code != 0:
                self.faults.append(f"{one.log.name}: ended with {code} after SIGTERM")
        self._bury(one)

    def kill(self, one: StreamsProcess) -> None:
        """kill -9."""
        self.alive.remove(one)
        if one.process.poll() is not None:
            self.faults.append(self._alone(one))
        else:
            one.kill()
        self._bury(one)

    def suspend(self, one: StreamsProcess) -> None:
        """SIGSTOP."""
        one.process.send_signal(signal.SIGSTOP)

    def resume(self, one: StreamsProcess) -> None:
        """SIGCONT."""
        one.process.send_signal(signal.SIGCONT)

    async def ready(self, *which: StreamsProcess) -> None:
        """Wait until these (default: all) are; a fault if they are not in time."""
        deadline = time.monotonic() + READY_WITHIN_S
        for one in which or tuple(self.alive):
            try:
                await one.ready(max(1.0, deadline - time.monotonic()))
            except AssertionError as failure:
                self.faults.append(f"{one.log.name}: not ready: {str(failure)[-600:]}")

    def note_ends(self) -> None:
        """Processes that ended though nobody asked them to are faults."""
        for one in [one for one in self.alive if one.process.poll() is not None]:
            self.alive.remove(one)
            self.faults.append(self._alone(one))
            self._bury(one)

    def said(self) -> Counter[str]:
        """How often which warning or error was logged, by all processes that there were."""
        for one in self.alive:
            self._read(one)
        return self._said

    def close(self) -> None:
        """End what still runs."""
        while self.alive:
            one = self.alive.pop()
            self._read(one)
            one.close()

    def _alone(self, one: StreamsProcess) -> str:
        return f"{one.log.name}: ended by itself with {one.process.returncode}: …{one.words()[-600:]}"

    def _bury(self, one: StreamsProcess) -> None:
        one.close()
        self._read(one)
        text = one.log.read_text(errors="replace")
        self.faults += [f"{one.log.name}: says {word!r}" for word in NEVER_LOGGED if f'"{word}"' in text]

    def _read(self, one: StreamsProcess) -> None:
        for line in one.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") in ("warning", "error"):
                self._said[re.sub(r"\d[\d.]*", "…", str(entry.get("event")))] += 1


async def until_assigned(one: StreamsProcess, within_s: float) -> None:
    """Wait until the process's log speaks of partitions, at most so long."""
    deadline = time.monotonic() + within_s
    while "partitions assigned" not in one.words():
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.05)
