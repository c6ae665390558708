"""A role's reader: in order, gaps closed, unreadable ones put aside, servers waited for, nothing acked too soon."""

import asyncio
from dataclasses import replace

import pytest

from schemas.codec import Message, Record
from streams import patience
from streams.deadletters import CannotProcess
from streams.settings import Role
from tests.streams.rig import PARTITION, Recording, Rig, away_for


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.0)


async def test_what_faust_skipped_is_read_back_and_applied_first() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(10)

    for offset in (0, 1, 5, 9):
        await rig.reader.take(records[offset])

    assert handler.offsets == list(range(10))
    assert rig.offsets.last(PARTITION) == 9


async def test_the_first_record_of_an_assignment_is_checked_against_what_was_stored() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(8)
    await rig.store.store_applied_offsets("ledger", {PARTITION: 3})

    await rig.reader.take(records[6])

    assert handler.offsets == [4, 5, 6]


async def test_a_partition_that_was_never_read_is_read_from_its_beginning() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(6)
    rig.log.trim("openv.commands", PARTITION, 2)

    await rig.reader.take(records[4])

    assert handler.offsets == [2, 3, 4]


async def test_what_comes_again_is_handled_again() -> None:
    """That is what heals announcements that a crash cut off."""
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(3)

    for offset in (0, 1, 2, 1, 2):
        await rig.reader.take(records[offset])

    assert handler.offsets == [0, 1, 2, 1, 2]
    assert rig.offsets.last(PARTITION) == 2


async def test_a_topic_made_anew_is_read_from_its_beginning() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(3)
    await rig.store.store_applied_offsets("ledger", {PARTITION: 500})

    await rig.reader.take(records[1])
    await rig.offsets.save()

    assert handler.offsets == [0, 1]
    assert await rig.store.applied_offsets("ledger") == {PARTITION: 1}


async def test_a_soft_state_does_not_go_back_for_ever() -> None:
    handler = Recording()
    rig = Rig(handler, reach=2)
    records = await rig.fill(50)

    await rig.reader.take(records[40])

    assert handler.offsets == [38, 39, 40]


async def test_an_unreadable_record_goes_to_the_dead_letters_and_the_rest_flows() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(3)

    await rig.reader.take(records[0])
    await rig.reader.take(replace(records[1], value=b'{"prompt": "secret'))
    await rig.reader.take(records[2])

    assert handler.offsets == [0, 2]
    (letter,) = rig.dead_letters()
    assert letter.value == b'{"prompt": "secret'
    assert letter.header("openv_reason") == "not valid: value: json_invalid"


async def test_what_a_handler_cannot_process_goes_to_the_dead_letters() -> None:
    def refuse(record: Record) -> None:
        if record.offset == 1:
            raise CannotProcess("no", KeyError("the prompt"))

    handler = Recording(before=refuse)
    rig = Rig(handler)
    for record in await rig.fill(3):
        await rig.reader.take(record)

    assert handler.offsets == [0, 2]
    (letter,) = rig.dead_letters()
    assert letter.header("kafka_dlt-exception-fqcn") == "builtins.KeyError"
    assert b"the prompt" not in b"".join(value for _, value in letter.headers)


async def test_a_server_that_is_away_is_waited_for_with_the_record_in_hand() -> None:
    handler = Recording(before=away_for(5))
    rig = Rig(handler)
    records = await rig.fill(2)

    for record in records:
        await rig.reader.take(record)

    assert handler.offsets == [0, 1]
    assert rig.dead_letters() == []
    assert rig.said == ["ledger waits for mongodb", "ledger running"]
    assert rig.vitals.roles[Role.LEDGER].waiting_for is None


async def test_an_unexpected_failure_passes_and_the_record_does_not_count_as_applied() -> None:
    def break_down(_: Record) -> None:
        raise RuntimeError("a bug")

    rig = Rig(Recording(before=break_down))
    records = await rig.fill(1)

    with pytest.raises(RuntimeError):
        await rig.reader.take(records[0])

    assert rig.offsets.last(PARTITION) == -1


async def test_a_new_assignment_is_a_new_generation_and_asks_again_how_far_others_got() -> None:
    handler = Recording()
    rig = Rig(handler)
    records = await rig.fill(6)
    await rig.reader.take(records[0])

    rig.reader.on_revoked()
    await rig.store.store_applied_offsets("ledger", {PARTITION: 3})  # another process, meanwhile
    rig.reader.on_assigned([PARTITION])
    await rig.reader.take(records[5])

    assert handler.offsets == [0, 4, 5]
    assert handler.generations == [1, 3, 3]


async def test_stopping_finishes_the_running_record_and_takes_no_other() -> None:
    finish, running = asyncio.Event(), asyncio.Event()

    class Slow(Recording):
        async def handle(self, message: Message, record: Record, generation: int) -> None:
            running.set()
            await finish.wait()
            await super().handle(message, record, generation)

    handler = Slow()
    rig = Rig(handler)
    records = await rig.fill(2)
    first = asyncio.create_task(rig.reader.take(records[0]))
    await running.wait()
    second = asyncio.create_task(rig.reader.take(records[1]))
    stopping = asyncio.create_task(rig.reader.stop(30))
    await asyncio.sleep(0)
    finish.set()

    assert await stopping is True
    await first
    assert handler.offsets == [0]
    assert not second.done()
    second.cancel()


async def test_stopping_gives_up_on_a_record_that_waits_for_a_server() -> None:
    rig = Rig(Recording(before=away_for(10**9)))
    records = await rig.fill(1)
    waiting = asyncio.create_task(rig.reader.take(records[0]))
    await asyncio.sleep(0)

    assert await rig.reader.stop(0.05) is False
    assert not waiting.done()
    waiting.cancel()
