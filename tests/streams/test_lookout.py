"""The second look: records left behind with nothing after them, commits that stop, membership that is lost."""

from dataclasses import dataclass, field

from streams.lookout import Lookout
from streams.settings import Role
from tests.streams.rig import PARTITION, Recording, Rig


@dataclass
class Seen:
    """What Faust says of itself."""

    committed: dict[int, int] = field(default_factory=dict)
    member: bool = True
    idle: bool = True


def lookout_of(rig: Rig, seen: Seen) -> Lookout:
    return Lookout(
        rig.reader,
        rig.log,
        rig.board,
        committed=lambda: seen.committed,
        member=lambda: seen.member,
        idle=lambda _: seen.idle,
    )


async def test_what_faust_never_delivers_is_fetched_at_the_second_look() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(4)
    await rig.reader.take(records[0])
    lookout = lookout_of(rig, Seen())

    await lookout.look()
    assert handler.offsets == [0]
    rig.clock.now += 5
    await lookout.look()
    assert handler.offsets == [0]  # it moved since the first look's beginning
    rig.clock.now += 5
    await lookout.look()

    assert handler.offsets == [0, 1, 2, 3]
    partition = rig.vitals.roles[Role.LEDGER].partitions[PARTITION]
    assert partition.read_back == 1
    assert partition.lag == 0
    await rig.reader.take(records[3])  # Faust delivers again
    assert partition.read_back == 0


async def test_what_is_under_way_was_not_left_behind() -> None:
    handler = Recording()
    rig = Rig(handler)
    await rig.fill(4)
    lookout = lookout_of(rig, Seen(idle=False))
    for _ in range(3):
        await lookout.look()
        rig.clock.now += 5
    assert handler.offsets == []


async def test_a_partition_with_nothing_to_do_is_left_alone_and_counts_as_moving() -> None:
    rig = Rig(Recording())
    await rig.reader.take((await rig.fill(1))[0])
    lookout = lookout_of(rig, Seen())
    for _ in range(3):
        rig.clock.now += 1000
        await lookout.look()
    partition = rig.vitals.roles[Role.LEDGER].partitions[PARTITION]
    assert (partition.moved_at, partition.read_back) == (rig.clock.now, 0)


async def test_commits_are_watched_from_the_first_ack_that_waits_for_one() -> None:
    rig = Rig(Recording())
    records = await rig.fill(2)
    seen = Seen(committed={PARTITION: 0})
    lookout = lookout_of(rig, seen)
    await rig.reader.take(records[0])
    rig.clock.now += 10
    rig.reader.acked(records[0])
    acked_at = rig.clock.now
    partition = rig.vitals.roles[Role.LEDGER].partitions[PARTITION]

    rig.clock.now += 10
    await lookout.look()
    assert (partition.uncommitted, partition.committed_at) == (1, acked_at)
    seen.committed[PARTITION] = 1
    await lookout.look()
    assert (partition.uncommitted, partition.committed_at) == (0, rig.clock.now)


async def test_membership_lost_and_found() -> None:
    rig, seen = Rig(Recording()), Seen(member=False)
    lookout = lookout_of(rig, seen)
    role = rig.vitals.roles[Role.LEDGER]
    await lookout.look()
    lost_at = rig.clock.now
    rig.clock.now += 10
    await lookout.look()
    assert role.outside_since == lost_at
    seen.member = True
    await lookout.look()
    assert role.outside_since is None


async def test_without_kafka_no_clock_runs() -> None:
    rig, seen = Rig(Recording()), Seen(member=False)
    await rig.fill(1)
    lookout = lookout_of(rig, seen)
    await lookout.look()
    rig.log.away = True
    rig.clock.now += 1000
    await lookout.look()
    role = rig.vitals.roles[Role.LEDGER]
    assert role.outside_since == rig.clock.now
    assert role.partitions[PARTITION].moved_at == rig.clock.now


async def test_a_partition_that_was_revoked_meanwhile_is_not_caught_up() -> None:
    handler = Recording()
    rig = Rig(handler)
    await rig.fill(3)
    rig.reader.on_revoked()
    assert await rig.reader.catch_up(PARTITION, 3) is False
    assert handler.offsets == []
