"""What is stored of how far a consumer got: never more than was applied, never lost to an outage."""

import pytest

from repo.ports import Unavailable
from schemas.topics import COMMANDS
from streams.offsets import AppliedOffsets
from tests.streams.rig import PARTITION, Recording, Rig


async def test_only_what_was_applied_is_stored_and_only_when_saved() -> None:
    rig = Rig(Recording())
    records = await rig.fill(3)
    await rig.reader.take(records[0])
    await rig.reader.take(records[1])

    assert await rig.store.applied_offsets("ledger") == {}
    await rig.offsets.save()
    assert await rig.store.applied_offsets("ledger") == {PARTITION: 1}


async def test_an_outage_while_saving_forgets_nothing() -> None:
    rig = Rig(Recording())
    await rig.reader.take((await rig.fill(1))[0])
    rig.store.away = True
    with pytest.raises(Unavailable):
        await rig.offsets.save()
    rig.store.away = False
    await rig.offsets.save()
    assert await rig.store.applied_offsets("ledger") == {PARTITION: 0}


async def test_offsets_without_records_count_as_applied() -> None:
    """A transaction's marks, or records that retention took meanwhile."""
    rig = Rig(Recording())
    await rig.fill(5)
    rig.log.trim(COMMANDS.name, PARTITION, 4)
    offsets = AppliedOffsets("other", COMMANDS, rig.store, rig.log)
    await rig.store.store_applied_offsets("other", {PARTITION: 0})

    read = [record.offset async for batch in offsets.missing(PARTITION, 5) for record in batch]

    assert read == [4]
    assert offsets.last(PARTITION) == 4


async def test_a_gap_is_read_in_bounded_batches_and_goes_on_where_it_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.offsets.READ_AT_ONCE", 2)
    rig = Rig(Recording())
    await rig.fill(5)
    batches: list[list[int]] = []
    async for batch in rig.offsets.missing(PARTITION, 5):
        batches.append([record.offset for record in batch])
        if len(batches) == 2:
            rig.offsets.applied(PARTITION, batch[0].offset)
            break
    rest = [[record.offset for record in batch] async for batch in rig.offsets.missing(PARTITION, 5)]

    assert batches == [[0, 1], [2, 3]]
    assert rest == [[3, 4]]
