"""The simulated world: one seed, one clock, one heap of what happens when; processes that can be stopped at any await.

Coroutines are the processes' programs. Whatever they await suspends them into the world, which alone decides when they
go on, or that they never do. Nothing here knows what is simulated; chance comes from one ``random.Random(seed)``.
"""

import traceback
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from random import Random
from typing import Any, NoReturn

TAIL = 60


class SimulationFailed(AssertionError):
    """A run broke a promise. The message holds the seed, what broke, and the end of the trace."""


class Signal:
    """Something to wait for, given once: a value or an exception."""

    __slots__ = ("_waiting", "error", "given", "value")

    def __init__(self) -> None:
        self.given = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._waiting: list[Callable[[], None]] = []

    def give(self, value: Any = None, error: BaseException | None = None) -> None:
        """The first word counts."""
        if self.given:
            return
        self.given, self.value, self.error = True, value, error
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def then(self, go_on: Callable[[], None]) -> None:
        if self.given:
            go_on()
        else:
            self._waiting.append(go_on)

    def __await__(self) -> Generator["Signal", None, Any]:
        yield self
        if self.error is not None:
            raise self.error
        return self.value


Row = tuple[int, str, str, str, str]


class World:
    """Time, chance and the trace. ``now`` is in ms since the epoch; every callback runs alone."""

    def __init__(self, seed: int, start: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.start = start
        self.now = start
        self.rows: list[Row] = []
        self.processes: list[Process] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, delay: int, happen: Callable[[], None]) -> None:
        """Let something happen ``delay`` ms from now; at one time, in the order of asking."""
        self._sequence += 1
        heappush(self._heap, (self.now + max(0, delay), self._sequence, happen))

    def sleep(self, delay: int) -> Signal:
        """Awaited: that long later."""
        signal = Signal()
        self.at(delay, signal.give)
        return signal

    def run(self, for_ms: int) -> None:
        """Let this much time pass."""
        until = self.now + for_ms
        while self._heap and self._heap[0][0] <= until:
            self.now, _, happen = heappop(self._heap)
            happen()
        self.now = until

    def note(self, who: str, what: str, about: str = "", detail: str = "") -> None:
        """One line of the trace."""
        self.rows.append((self.now - self.start, who, what, about, detail))

    def fail(self, what: str) -> NoReturn:
        raise SimulationFailed(f"seed {self.seed}: {what}\n{self.tail()}")

    def tail(self, lines: int = TAIL) -> str:
        """The end of the trace, its columns aligned."""
        rows = [(f"{at / 1000:.3f}", *words) for at, *words in self.rows[-lines:]]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        return "\n".join(
            "  ".join([row[0].rjust(widths[0]), *(row[n].ljust(widths[n]) for n in (1, 2, 3)), row[4]]).rstrip()
            for row in rows
        )

    def between(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def close(self) -> None:
        """End every program, so that nothing is left to the garbage collector."""
        for process in self.processes:
            process.kill()
        self._heap.clear()


class Process:
    """A process of an operating system: it lives, may stand still, and is killed without a word at any await."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.still_until = 0
        self.running: Task | None = None
        self._tasks: list[Task] = []
        world.processes.append(self)

    def spawn(self, program: Coroutine[Signal, Any, None]) -> "Task":
        """Begin a program of this process."""
        task = Task(self, program)
        self._tasks = [one for one in self._tasks if not one.over]
        self._tasks.append(task)
        self.world.at(0, task.go_on)
        return task

    def stand_still(self, for_ms: int) -> None:
        """As after SIGSTOP: what is answered meanwhile is seen later."""
        self.still_until = max(self.still_until, self.world.now + for_ms)

    def kill(self) -> None:
        """As by SIGKILL."""
        self.alive = False
        for task in self._tasks:
            task.end()
        self._tasks = []


class Task:
    """One program of a process, between two awaits at any time but when it runs. ``about``: what it has in hand."""

    def __init__(self, process: Process, program: Coroutine[Signal, Any, None]) -> None:
        self.over = False
        self.about: Any = None
        self._process = process
        self._program = program
        self._running = False

    def go_on(self) -> None:
        """To the next await, unless the process stands still or is gone."""
        process = self._process
        if self.over:
            return
        if process.still_until > process.world.now:
            process.world.at(process.still_until - process.world.now, self.go_on)
            return
        self._running = True
        process.running = self
        try:
            signal = self._program.send(None)
        except StopIteration:
            self.over = True
            return
        except SimulationFailed:
            raise
        except Exception as error:  # noqa: BLE001 -- the run has failed, whatever it was
            cause = error.__cause__ or error
            process.world.fail(f"{process.name} raised {cause!r}\n{''.join(traceback.format_exception(cause))}")
        finally:
            self._running = False
        if not process.alive:  # it was killed by what it did just now
            self._program.close()
        else:
            signal.then(self.go_on)

    def end(self) -> None:
        """Never go on again."""
        self.over = True
        if not self._running:
            self._program.close()
