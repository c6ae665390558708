"""The stream processors: the real shells (``Ledger``, ``Pools``, ``Janitor``) and cores, on simulated ports.

A process takes one record of a partition at a time, tries it until it is applied, and commits by and by: at least
once, as with Faust.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from repo.memory_access import MemoryAccessStore
from repo.memory_endpoints import MemoryEndpointStore
from repo.ports import Unavailable
from repo.stores import ObjectStores
from schemas.codec import Message, Record, Unreadable, decode, encode
from schemas.dispatch import Tick
from schemas.topics import COMMANDS, DISPATCH, EVENTS
from streams.board import Board
from streams.core.policy import Policy
from streams.deadletters import CannotProcess
from streams.janitor import Janitor
from streams.ledger import Ledger
from streams.patience import Patience
from streams.perform import SCHEDULER
from streams.pools import Pools
from streams.settings import Role
from streams.vitals import new_vitals
from tests.simulation.groups import Group, Member
from tests.simulation.servers import Broker, Bucket, Database, LogPort, ObjectsPort, StorePort
from tests.simulation.world import Process, World

T = TypeVar("T")
TICK_MS = 1_000
COMMIT_MS = 500
SESSION_MS = 3_000
RECONCILE_MS = 60_000
ROLES = {Role.LEDGER: COMMANDS.name, Role.SCHEDULER: DISPATCH.name, Role.JANITOR: EVENTS.name}
_DECODED: dict[tuple[bytes, tuple[tuple[str, bytes], ...]], Message | Unreadable] = {}


def read(record: Record) -> Message | Unreadable:
    """``decode``, once for each content: several parts read the same record."""
    known = _DECODED.get((record.value, record.headers))
    if known is None:
        if len(_DECODED) > 20_000:
            _DECODED.clear()
        known = _DECODED[record.value, record.headers] = decode(record)
    return known


class Handler(Protocol):
    async def handle(self, message: Message, record: Record, generation: int) -> None: ...


class VirtualPatience(Patience):
    """Waits in the world's time instead of asyncio's."""

    def __init__(self, role: Role, world: World) -> None:
        super().__init__(role, Board(new_vitals((role,), clock=lambda: world.now / 1000)))
        self._world = world

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        pause = 100
        while True:
            try:
                return await attempt()
            except Unavailable:
                await self._world.sleep(pause)
                pause = min(2 * pause, 2_000)


class Servers:
    """All servers of one world, and the groups that read from them."""

    def __init__(self, broker: Broker, database: Database, bucket: Bucket, pools: list[str]) -> None:
        self.broker, self.database, self.bucket = broker, database, bucket
        self.pods: list[Any] = []  # whose workers are not ours, where there are any
        used = {DISPATCH.name: sorted({LogPort(broker).partition_of(DISPATCH.name, pool.encode()) for pool in pools})}
        self.groups = {
            role: Group(broker, topic, used.get(topic, list(range({COMMANDS.name: 8, EVENTS.name: 8}.get(topic, 0)))))
            for role, topic in ROLES.items()
        }


class StreamsProcess:
    """One role in one process, from its start to its end. ``deciding``: the records in hand, by partition."""

    def __init__(self, world: World, servers: Servers, role: Role, name: str, policy: Policy) -> None:
        self.role = role
        self.process = Process(world, name)
        self.deciding: dict[int, Record] = {}
        self._world = world
        self._servers = servers
        self._log = LogPort(servers.broker)
        self._patience = VirtualPatience(role, world)
        store: Any = StorePort(servers.database, self._about)
        log: Any = self._log
        objects = ObjectsPort(servers.bucket, name)
        handlers: dict[Role, Callable[[], Handler]] = {
            Role.LEDGER: lambda: Ledger(store, log, policy, clock=lambda: world.now),
            Role.SCHEDULER: lambda: Pools(store, log, self._patience, reconcile_ms=RECONCILE_MS),
            Role.JANITOR: lambda: Janitor(
                store, MemoryAccessStore(), MemoryEndpointStore(), ObjectStores(objects), now=lambda: world.now
            ),
        }
        self._handler = handlers[role]()
        self.member: Member = servers.groups[role].join(self.process)
        for number in self.member.group.partitions:
            self.process.spawn(self._consume(number))
        self.process.spawn(self._commit())
        if role is Role.SCHEDULER:
            self.process.spawn(self._tick())

    def kill(self) -> None:
        """SIGKILL. The group notices after a while."""
        self._world.note(self.process.name, "killed", "", self._in_hand())
        self.process.kill()
        member = self.member
        self._world.at(self._world.between(100, SESSION_MS), lambda: member.group.leave(member))

    def hang(self, for_ms: int) -> None:
        """SIGSTOP, SIGCONT. Long enough, and the group takes it for dead; it goes on as if it were not."""
        self._world.note(self.process.name, "hangs", f"{for_ms} ms", self._in_hand())
        self.process.stand_still(for_ms)
        if for_ms > SESSION_MS:
            member = self.member
            self._world.at(SESSION_MS, lambda: member.group.leave(member))
            self._world.at(for_ms + self._world.between(500, 9_000), lambda: member.group.come_back(member))

    def _in_hand(self) -> str:
        return " ".join(_place(record) for record in self.deciding.values())

    def _about(self) -> tuple[str, int]:
        running = self.process.running
        record: Record | None = running.about if running else None
        return self.process.name, record.timestamp if record else self._world.now

    async def _consume(self, number: int) -> None:
        """One partition's lane: partitions are handled side by side, a partition's records one after another."""
        while True:
            record, epoch = await self.member.next(number)
            self.deciding[number] = record
            if self.process.running:
                self.process.running.about = record
            message = read(record)
            if isinstance(message, Unreadable):
                self._world.fail(f"{self.process.name} can't read {_place(record)}: {message.reason}")
            await self._apply(message, record)
            del self.deciding[number]
            self.member.applied(record, epoch)

    async def _apply(self, message: Message, record: Record) -> None:
        try:
            await self._patience.until_done(
                lambda: self._handler.handle(message, record, self.member.generation),
            )
        except CannotProcess as failure:
            raise AssertionError(failure.reason) from failure.cause

    async def _commit(self) -> None:
        while True:
            slow = self._servers.broker.plan.strikes("slow_commit")
            await self._world.sleep(self._world.between(1_000, 9_000) if slow else COMMIT_MS)
            self.member.commit()

    async def _tick(self) -> None:
        """As ``streams/ticks.py``: the next one only after the last was applied."""
        outstanding: dict[int, int] = {}
        generation = -1
        number = 0
        while True:
            await self._world.sleep(TICK_MS)
            if generation != self.member.generation:
                generation = self.member.generation
                outstanding.clear()
            for partition in list(self.member.positions):
                sent = outstanding.get(partition)
                if sent is not None and not self.member.has_applied(partition, sent):
                    continue
                number += 1
                tick = Tick(tick_id=f"{self.process.name}:{self._world.now}:{number}")
                try:
                    position = await self._log.append(
                        encode(tick, source=SCHEDULER, at=self._world.now), partition=partition
                    )
                except Unavailable:
                    continue
                outstanding[partition] = position.offset


def _place(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
