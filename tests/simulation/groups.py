"""Consumer groups: who reads which partitions, from where, and who has not yet heard that it no longer does."""

from collections.abc import Sequence

from schemas.codec import Record
from tests.simulation.servers import Broker
from tests.simulation.world import Process, Signal


class Member:
    """One consumer. ``generation`` grows with every assignment; records are read from its own positions."""

    def __init__(self, group: "Group", process: Process) -> None:
        self.group = group
        self.process = process
        self.generation = 0
        self.epoch = -1
        self.positions: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._changed: dict[int, Signal] = {}

    def adopt(self, epoch: int, partitions: Sequence[int]) -> None:
        """Read these from their committed offsets on."""
        if epoch <= self.epoch or not self.process.alive:
            return
        self.generation += 1
        self.epoch = epoch
        self.positions = {number: self.group.committed.get(number, 0) for number in partitions}
        self._done = {}
        for number in list(self._changed):
            self._wake(number)

    async def next(self, number: int) -> tuple[Record, int]:
        """The next record of this partition while it is assigned, and the epoch that it was read in."""
        world, broker = self.process.world, self.group.broker
        lane = broker.lanes[self.group.topic, number]
        while True:
            offset = self.positions.get(number)
            if broker.away:
                await world.sleep(broker.away_until - world.now)
            elif offset is not None and offset < len(lane):
                self.positions[number] = offset + 1
                return lane[offset], self.epoch
            else:
                changed = self._changed[number] = Signal()
                broker.grown(self.group.topic, number).then(changed.give)
                await changed
                await world.sleep(world.between(0, 5))

    def applied(self, record: Record, epoch: int) -> None:
        """It may be committed by and by."""
        if epoch == self.epoch:
            self._done[record.partition] = record.offset + 1

    def has_applied(self, partition: int, offset: int) -> bool:
        return self._done.get(partition, 0) > offset

    def commit(self) -> None:
        """Kafka refuses a member of a former generation."""
        if self.epoch == self.group.epoch and not self.group.broker.away:
            for number, offset in self._done.items():
                self.group.committed[number] = max(offset, self.group.committed.get(number, 0))

    def _wake(self, number: int) -> None:
        self._changed[number].give()


class Group:
    """The coordinator's view. A member that is late to hear of a rebalance goes on as it was: a zombie."""

    def __init__(self, broker: Broker, topic: str, partitions: Sequence[int]) -> None:
        self.broker = broker
        self.topic = topic
        self.partitions = list(partitions)
        self.committed: dict[int, int] = {}
        self.members: list[Member] = []
        self.epoch = 0

    def join(self, process: Process) -> Member:
        member = Member(self, process)
        self.members.append(member)
        self.rebalance()
        return member

    def leave(self, member: Member) -> None:
        if member in self.members:
            self.members.remove(member)
            self.rebalance(late=member)

    def come_back(self, member: Member) -> None:
        """A member that had been taken for dead."""
        if member not in self.members and member.process.alive:
            self.members.append(member)
            self.rebalance()

    def rebalance(self, late: Member | None = None) -> None:
        """Deal the partitions out anew. ``late`` belongs to it no more, and hears so late, if at all."""
        world, plan = self.broker.world, self.broker.plan
        self.epoch += 1
        epoch = self.epoch
        if late is not None and late.process.alive:
            world.at(world.between(0, 8_000), lambda: late.adopt(epoch, []))
        if not self.members:
            return
        order = list(self.members)
        world.random.shuffle(order)
        for place, member in enumerate(order):
            mine = self.partitions[place :: len(order)]
            delay = world.between(0, 8_000) if plan.strikes("late_revocation") else world.between(0, 50)
            world.at(delay, lambda member=member, mine=mine: member.adopt(epoch, mine))  # type: ignore[misc]
        world.note(self.topic, "rebalance", f"epoch {epoch}", " ".join(member.process.name for member in order))
