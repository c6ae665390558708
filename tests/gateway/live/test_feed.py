"""The feed: what passes, what it skips, and going on after a failure."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from repo.clock import now_ms
from schemas.codec import Encoded, Record, encode
from schemas.events import JobEvent
from schemas.replays import Replayed
from schemas.topics import EVENTS, PROGRESS
from tests.gateway.world import World, job, started, until

THEIRS = {"ce_type": "dev.openv.progress.attempt.v1", "ce_id": "j:1:w:1", "ce_subject": "j"}


def raw(topic: str, value: bytes, **headers: str) -> Encoded:
    return Encoded(topic, b"ada", value, tuple((name, text.encode()) for name, text in headers.items()))


async def test_records_that_make_no_sense_are_passed_over(world: World) -> None:
    queued = "dev.openv.job.queued.v1"
    odd = [
        raw(EVENTS.name, b"{}"),
        raw(EVENTS.name, b"{}", ce_type=queued),
        raw(EVENTS.name, b"{}", ce_type=queued, ce_id="no version"),
        raw(EVENTS.name, b"\xff\xfe", ce_type=queued, ce_id="j:1"),
        raw(EVENTS.name, b'{}},{"type":"welcome"', ce_type=queued, ce_id="j:1"),
        raw(EVENTS.name, b"", ce_type=queued, ce_id="j:1"),
        raw(EVENTS.name, b"{}", ce_type=queued, ce_id="j:" + "9" * 5000),
        raw(EVENTS.name, b"{}", ce_type="dev.openv.something.new.v9", ce_id="x"),
        # Objects, but not of the job, the version or the user by which they are routed.
        raw(EVENTS.name, b'{"jobId":"j","userId":"ada","version":2}', ce_type=queued, ce_id="j:1"),
        raw(EVENTS.name, b'{"jobId":"k","userId":"ada","version":1}', ce_type=queued, ce_id="j:1"),
        raw(EVENTS.name, b'{"jobId":"j","userId":"bob","version":1}', ce_type=queued, ce_id="j:1"),
        raw(PROGRESS.name, b'{"jobId":"j","userId":"bob","attempt":1}', **THEIRS),
        raw(PROGRESS.name, b'{"jobId":"k","userId":"ada","attempt":1}', **THEIRS),
        raw(PROGRESS.name, b'{"jobId":"j","userId":"ada","attempt":2}', **THEIRS),
        raw(PROGRESS.name, b"{}"),
        raw(PROGRESS.name, b"{}", ce_type="dev.openv.progress.attempt.v1", ce_id="odd", ce_subject="j"),
        raw(PROGRESS.name, b"\xff", ce_type="dev.openv.progress.attempt.v1", ce_id="j:1:w:1", ce_subject="j"),
        raw(PROGRESS.name, b"1", ce_type="dev.openv.progress.attempt.v1", ce_id="j:1:w:1", ce_subject="j"),
        raw(PROGRESS.name, b"{}", ce_type="dev.openv.progress.attempt.v1", ce_id=f"j:{'9' * 5000}:w:1", ce_subject="j"),
    ]
    for message in odd:
        await world.log.append(message)
    await world.ledger.write(job("00000000-0000-4000-8000-000000000001"))
    partition = world.parts.feed.partition_of("ada")
    assert await world.parts.feed.reached(partition, 11, 5)
    good = raw(PROGRESS.name, b'{"jobId":"j","userId":"ada","attempt":1,"new":"member"}', **THEIRS)
    await world.log.append(good)
    await until(lambda: world.parts.feed.hub.newest("ada"))
    assert [one.frame.text for one in world.parts.feed.hub.newest("ada")] == [
        b'{"type":"progress","data":' + good.value + b"}"
    ]
    head = world.parts.feed.window.head(partition)
    assert head is not None
    assert head.offset == 11


async def test_a_tail_that_breaks_is_taken_up_where_it_stopped(world: World) -> None:
    real = world.log.tail
    starts: list[Mapping[int, int]] = []
    broken = asyncio.Event()

    async def breaking(topic: str, start: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
        if topic == EVENTS.name:
            starts.append(dict(start))
        async for batch in real(topic, start):
            yield batch
            if batch and not broken.is_set():
                broken.set()
                raise RuntimeError("as if a broker had answered nonsense")

    world.log.tail = breaking  # type: ignore[method-assign, assignment]
    async with started(world=world) as other:
        feed = other.parts.feed
        await world.ledger.write(job("00000000-0000-4000-8000-000000000001"))
        await broken.wait()
        await world.ledger.write(job("00000000-0000-4000-8000-000000000002"))
        partition = feed.partition_of("ada")
        assert await feed.reached(partition, 1, 10)
        assert starts[1][partition] == 1


async def test_old_records_leave_the_window_even_when_nothing_comes(world: World) -> None:
    await world.ledger.write(job("00000000-0000-4000-8000-000000000001"))
    window = world.parts.feed.window
    await until(lambda: window.bytes > 0)
    later: Any = lambda: now_ms() + 10 * 60_000  # noqa: E731 -- a clock that has moved on
    world.parts.feed._now = later
    await until(lambda: window.bytes == 0)


async def test_what_an_operator_wrote_again_is_shown_to_nobody(world: World) -> None:
    """A job that went on since does not go back, and an account that was blocked once is not shut out again."""
    mine = replace(job("00000000-0000-4000-8000-000000000001"), version=3)
    await world.log.append(encode(JobEvent(mine), source="/openv/ledger", at=1))
    partition = world.parts.feed.partition_of("ada")
    await until(lambda: world.parts.feed.window.newest("ada", partition, mine.job_id))
    told: list[Any] = []
    world.parts.feed._tell = lambda _user, what: told.append(what)  # type: ignore[method-assign]
    old = encode(JobEvent(replace(mine, version=1)), source="/openv/ledger", at=1)
    said = Replayed("r-1", EVENTS.name, partition, 0, 1, 1).headers()
    ends = await world.log.ends(EVENTS.name)
    await world.log.append(replace(old, headers=(*old.headers, *said)))
    assert await world.parts.feed.reached(partition, ends[partition], 5)
    newest = world.parts.feed.window.newest("ada", partition, mine.job_id)
    assert newest is not None
    assert newest.version == 3
    assert told == []
