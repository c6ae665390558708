"""Reading a topic within bounds: whole where it is short, else near the moments; what is missing is said."""

import pytest

from operations.jobs.reading import AFTER_MS, BEFORE_MS, Read, read_around, read_since, windows
from repo.memory import MemoryEventLog
from schemas.codec import encode
from schemas.commands import CancelJob
from schemas.topics import COMMANDS

MINUTE = 60_000
PARTITIONS = (2, 5)


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
async def log() -> MemoryEventLog:
    """Two partitions of a hundred minutes, a command each minute in each."""
    clock = Clock()
    made = MemoryEventLog(clock)
    for number in range(100):
        clock.now = number * MINUTE
        for partition in PARTITIONS:
            command = CancelJob(command_id=f"{partition}:{number}", user_id="ann", job_id="j")
            await made.append(encode(command, source="/tests", at=0), partition=partition)
    return made


def numbers(read: Read) -> list[int]:
    """The minutes of the records found, of the first partition."""
    return [record.timestamp // MINUTE for record in read.records if record.partition == PARTITIONS[0]]


async def test_a_short_topic_is_read_whole_from_the_moment_on(log: MemoryEventLog) -> None:
    read = await read_around(log, COMMANDS.name, PARTITIONS, [90 * MINUTE], lambda _: True, 1_000)
    assert numbers(read) == list(range(90, 100))
    assert len(read.records) == 20
    assert read.gap is None
    odd = await read_since(log, COMMANDS.name, [2], 0, lambda record: record.offset % 2 == 1, 1_000)
    assert numbers(odd) == list(range(1, 100, 2))
    assert (await read_since(log, COMMANDS.name, [0], 0, lambda _: True, 1_000)) == Read(())
    assert (await read_since(log, COMMANDS.name, [2], 200 * MINUTE, lambda _: True, 1_000)) == Read(())


async def test_of_a_long_one_what_lies_near_the_moments_is_read_and_that_is_said(log: MemoryEventLog) -> None:
    moments = [10 * MINUTE, 11 * MINUTE, 70 * MINUTE]
    read = await read_around(log, COMMANDS.name, PARTITIONS, moments, lambda _: True, 40)
    assert numbers(read) == [10, 11, 12, 69, 70, 71], "from a minute before to two after, never before the first"
    assert read.gap is not None
    assert "is long: only what lies near" in read.gap


async def test_no_more_is_looked_at_than_was_allowed_and_how_far_it_came_is_said(log: MemoryEventLog) -> None:
    seen: list[int] = []
    read = await read_since(log, COMMANDS.name, [2], 0, lambda record: not seen.append(record.offset), 7)
    assert seen == list(range(7))
    assert numbers(read) == seen
    assert read.gap == "openv.commands was read up to 1970-01-01T00:06:00.000Z alone, 7 records at most"


async def test_what_retention_took_is_said(log: MemoryEventLog) -> None:
    log.trim(COMMANDS.name, 2, 50)
    read = await read_around(log, COMMANDS.name, [2], [30 * MINUTE], lambda _: True, 1_000)
    assert numbers(read) == list(range(50, 100))
    assert read.gap is not None
    assert "no longer kept" in read.gap
    assert (await read_around(log, COMMANDS.name, [2], [60 * MINUTE], lambda _: True, 1_000)).gap is None


def test_windows_that_meet_are_one() -> None:
    far = AFTER_MS + BEFORE_MS + 1
    assert windows([0, 5, far + 5]) == [(0, 5 + AFTER_MS), (far + 5 - BEFORE_MS, far + 5 + AFTER_MS)]
    assert windows([far - 1, 0]) == [(0, far - 1 + AFTER_MS)]
