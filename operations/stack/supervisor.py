"""Starts child processes in order, keeps them running, and stops them so that none is left behind."""

import asyncio
import contextlib
import enum
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operations.stack.child import Child, Command
from operations.stack.delays import Restarts
from operations.stack.errors import StackError
from operations.stack.order import start_waves

_PROBE_EVERY_S = 0.05
_PROBE_TIMEOUT_S = 3.0
STOP_WITHIN_S = 9.0
_WAVE_RESERVE_S = 0.4


class PartState(enum.Enum):
    """Where a part is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Change:
    """A part's new state, with words for a person.

    ``detail``: what it waits for (WAITING), why it ended (DIED), otherwise empty. ``again_in_ms``: for DIED.
    """

    part: str
    state: PartState
    detail: str = ""
    again_in_ms: int = 0
    pid: int | None = None


@dataclass(frozen=True)
class Part:
    """One process to keep running.

    ``command`` is asked before every start, once what the part needs is ready: it may prepare files and choose ports,
    and its ``StackError`` ends the start of the stack. ``is_ready(pid)`` tells whether *this* process answers in its
    own protocol; it is asked again and again, each time with a timeout, and answers False rather than raise. A part
    that is not ready after ``ready_within_s`` seconds is killed and started again. ``give_up_after`` deaths before it
    was ever ready raise ``StackError``; ``None`` goes on trying for ever. ``final`` has, by exit code, the sentence for
    what another start would not mend.
    """

    name: str
    command: Callable[[], Awaitable[Command]]
    is_ready: Callable[[int], Awaitable[bool]]
    after: tuple[str, ...] = ()
    grace_s: float = 3.0
    ready_within_s: float = 60.0
    give_up_after: int | None = None
    final: Mapping[int, str] = field(default_factory=dict)


class Supervisor:
    """Runs parts. Use it from the main thread's loop: ``await start()``, serve, ``await stop()``.

    ``verdict(said)`` hears the end of what a dead part printed and returns why none is to be started again, or None.
    """

    def __init__(
        self,
        parts: Iterable[Part],
        logs: Path,
        on_change: Callable[[Change], None] | None = None,
        verdict: Callable[[str], StackError | None] | None = None,
    ) -> None:
        self._parts = {part.name: part for part in parts}
        self._waves = start_waves({part.name: part.after for part in self._parts.values()})
        self._logs = logs
        self._on_change = on_change or (lambda _change: None)
        self._verdict = verdict or (lambda _said: None)
        self._ready = {name: asyncio.Event() for name in self._parts}
        self._children: dict[str, Child] = {}
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._states = {name: Change(name, PartState.STOPPED) for name in self._parts}

    @property
    def states(self) -> dict[str, Change]:
        """The last change of every part."""
        return dict(self._states)

    async def start(self) -> None:
        """Starts everything and returns when all parts are ready. Raises ``StackError`` (then call ``stop``)."""
        self._runners = {name: asyncio.create_task(self._keep(part)) for name, part in self._parts.items()}
        ready = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait({ready, *self._runners.values()}, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    async def _all_ready(self) -> None:
        for event in self._ready.values():
            await event.wait()

    async def watch(self) -> None:
        """Returns never; raises the ``StackError`` of a part that can't be started again."""
        if not self._runners:
            await asyncio.Event().wait()
        await asyncio.wait(self._runners.values(), return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()

    async def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Stops everything, last started first, in about ``within_s`` seconds at most. May be called twice."""
        deadline = time.monotonic() + within_s
        for runner in self._runners.values():
            runner.cancel()
        await asyncio.gather(*self._runners.values(), return_exceptions=True)
        for still_to_come, wave in reversed(list(enumerate(self._waves))):
            left = deadline - time.monotonic() - still_to_come * _WAVE_RESERVE_S
            await asyncio.gather(*(self._stop_part(self._parts[name], max(0.0, left)) for name in wave))

    def kill(self) -> None:
        """Ends everything at once, without grace: for a second Ctrl-C."""
        for runner in self._runners.values():
            runner.cancel()
        for child in self._children.values():
            child.kill()

    async def _stop_part(self, part: Part, left_s: float) -> None:
        child = self._children.pop(part.name, None)
        self._ready[part.name].clear()
        if child is not None:
            await child.stop(min(part.grace_s, left_s))
            self._tell(Change(part.name, PartState.STOPPED))

    async def _keep(self, part: Part) -> None:
        """The life of one part: wait for what it needs, start, watch, start again."""
        restarts = Restarts()
        was_ready = False
        await self._wait_for_needs(part)
        while True:
            self._tell(Change(part.name, PartState.STARTING))
            command = await part.command()
            child = Child.start(command, self._logs / f"{part.name}.log")
            self._children[part.name] = child
            reason, healthy_ms = await self._live(part, child)
            was_ready = was_ready or self._ready[part.name].is_set()
            self._ready[part.name].clear()
            self._raise_if_final(part, child)
            restarts, delay_ms = restarts.after_death(healthy_ms)
            if not was_ready and part.give_up_after is not None and restarts.deaths >= part.give_up_after:
                raise StackError(
                    f"{part.name} can't be started: it {reason}. Its log is {self._logs / f'{part.name}.log'}."
                )
            self._tell(Change(part.name, PartState.DIED, reason, delay_ms))
            await asyncio.sleep(delay_ms / 1000)

    async def _live(self, part: Part, child: Child) -> tuple[str, int]:
        """From start to end of one process: why it ended, and for how many milliseconds it had been ready."""
        watch = asyncio.create_task(child.wait())
        probe = asyncio.create_task(_until_ready(part, child.pid))
        try:
            await asyncio.wait({watch, probe}, timeout=part.ready_within_s, return_when=asyncio.FIRST_COMPLETED)
            if not watch.done() and not probe.done():
                child.kill()
                return f"was not ready after {part.ready_within_s:g} s ({child.last_words()})", 0
            if watch.done():
                return _ending(watch.result(), child), 0
            probe.result()
            ready_at = time.monotonic()
            self._ready[part.name].set()
            self._tell(Change(part.name, PartState.READY, pid=child.pid))
            code = await watch
            return _ending(code, child), int((time.monotonic() - ready_at) * 1000)
        finally:
            watch.cancel()
            probe.cancel()
            await asyncio.gather(watch, probe, return_exceptions=True)

    def _raise_if_final(self, part: Part, child: Child) -> None:
        """Raises ``StackError`` where starting it again would not help."""
        if (reason := self._verdict(child.said())) is not None:
            raise reason
        if (sentence := part.final.get(child.exit_code() or 0)) is not None:
            raise StackError(sentence)

    async def _wait_for_needs(self, part: Part) -> None:
        missing = [name for name in part.after if not self._ready[name].is_set()]
        if missing:
            self._tell(Change(part.name, PartState.WAITING, ", ".join(missing)))
        for name in part.after:
            await self._ready[name].wait()

    def _raise_failure(self) -> None:
        for runner in self._runners.values():
            if runner.done() and not runner.cancelled() and (failure := runner.exception()) is not None:
                raise failure

    def _tell(self, change: Change) -> None:
        self._states[change.part] = change
        self._on_change(change)


async def _until_ready(part: Part, pid: int) -> None:
    while True:
        # Not wait_for: Python 3.11's swallows a cancellation that meets the answer, and this would never end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                if await part.is_ready(pid):
                    return
        await asyncio.sleep(_PROBE_EVERY_S)


def _ending(code: int, child: Child) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return how if code in (0, -9, -15) else f"{how} ({child.last_words()})"  # else it has complained of something
