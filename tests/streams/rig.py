"""A reader over memory twins, fed by hand: what Faust would deliver, or fail to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from repo.memory import MemoryEventLog, MemoryJobStore
from repo.ports import Unavailable
from schemas.codec import Message, Record, encode
from schemas.commands import CancelJob
from schemas.topics import COMMANDS, DEADLETTER, Topic
from streams.board import Board
from streams.offsets import AppliedOffsets
from streams.reader import Handler, Reader
from streams.settings import Role
from streams.vitals import Vitals, new_vitals

PARTITION = 3


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Recording:
    """A handler that remembers the offsets it was given; ``before`` may raise."""

    before: Callable[[Record], None] = lambda _: None
    offsets: list[int] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)

    async def handle(self, message: Message, record: Record, generation: int) -> None:
        self.before(record)
        self.offsets.append(record.offset)
        self.generations.append(generation)


class Rig:
    """One reader of ``openv.commands`` that owns one partition."""

    def __init__(
        self, handler: Handler, *, topic: Topic = COMMANDS, reach: int | None = None, only: frozenset[str] | None = None
    ) -> None:
        self.log = MemoryEventLog()
        self.store = MemoryJobStore()
        self.clock = Clock()
        self.vitals: Vitals = new_vitals((Role.LEDGER,), self.clock)
        self.said: list[str] = []
        self.ready: list[str] = []
        self.board = Board(self.vitals, ready=self.ready.append, waiting=self.said.append)
        self.topic = topic
        self.offsets = AppliedOffsets("ledger", topic, self.store, self.log, reach=reach)
        role = self.vitals.roles[Role.LEDGER]
        self.reader = Reader(Role.LEDGER, topic, handler, self.offsets, self.log, self.board, role, only=only)
        self.reader.on_assigned([PARTITION])

    async def fill(self, count: int) -> list[Record]:
        """Append commands to the partition; its records."""
        for number in range(count):
            command = CancelJob(command_id=f"c{number}", user_id="ann", job_id=f"j{number}")
            await self.log.append(encode(command, source="/tests", at=0), partition=PARTITION)
        return await self.records()

    async def records(self) -> list[Record]:
        """What the partition holds."""
        return await self.log.read(self.topic.name, PARTITION, 0, 10_000)

    def dead_letters(self) -> list[Record]:
        """What was put aside."""
        return self.log.records(DEADLETTER.name)


def away_for(times: int) -> Callable[[Record], None]:
    """A server that is away for the first tries."""
    left = times

    def check(_: Record) -> None:
        nonlocal left
        if left:
            left -= 1
            raise Unavailable("mongodb", "away")

    return check
