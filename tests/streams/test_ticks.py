"""Ticks: into every owned partition, one outstanding each."""

from schemas.codec import decode
from schemas.dispatch import Tick
from schemas.topics import DISPATCH
from streams.ticks import Ticker
from tests.streams.rig import PARTITION, Recording, Rig


async def test_the_next_one_goes_out_only_after_the_last_was_applied() -> None:
    rig = Rig(Recording(), topic=DISPATCH)
    ticker = Ticker(rig.reader, rig.log)
    await ticker.tick()
    await ticker.tick()
    (record,) = rig.log.records(DISPATCH.name)
    assert isinstance(decode(record), Tick)
    assert record.partition == PARTITION

    await rig.reader.take(record)
    await ticker.tick()
    assert len(rig.log.records(DISPATCH.name)) == 2


async def test_an_outage_of_kafka_is_tried_again() -> None:
    rig = Rig(Recording(), topic=DISPATCH)
    ticker = Ticker(rig.reader, rig.log)
    rig.log.away = True
    await ticker.tick()
    rig.log.away = False
    await ticker.tick()
    assert len(rig.log.records(DISPATCH.name)) == 1


async def test_a_new_assignment_begins_anew_and_without_partitions_there_are_none() -> None:
    rig = Rig(Recording(), topic=DISPATCH)
    ticker = Ticker(rig.reader, rig.log)
    await ticker.tick()
    rig.reader.on_revoked()
    await ticker.tick()
    assert len(rig.log.records(DISPATCH.name)) == 1
    rig.reader.on_assigned([0, 1])
    await ticker.tick()
    assert sorted(record.partition for record in rig.log.records(DISPATCH.name)) == [0, 1, PARTITION]
