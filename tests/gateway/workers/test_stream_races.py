"""Two gateways add to one stream and take from it, at the same time and while the database fails: each chunk once."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from gateway.core.handouts import HandOut
from gateway.workers import streaming
from gateway.workers.streaming import Streamed, Streams, take
from repo.memory import MemoryEndpointStore
from repo.ports import Unavailable
from schemas.chunks import TAIL_BYTES, Bundle, Chunks

JOB = "j-1"
HUGE = TAIL_BYTES // 2 + 1  # each chunk but the first moves the one before it to a bundle


class Slow(MemoryEndpointStore):
    """Others get their turn before and after each step, as often as chance will have it. ``lost``: the writes, by their
    number, that are carried out without an answer, or (negative) that are not carried out."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self.lost: set[int] = set()
        self.writes = 0

    async def _pause(self) -> None:
        for _ in range(self._chance.choice((0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    async def chunks(self, job_id: str) -> Chunks | None:
        await self._pause()
        found = await super().chunks(job_id)
        await self._pause()
        return found

    async def store_chunks(self, chunks: Chunks, expected: int) -> bool:
        await self._pause()
        self.writes += 1
        number = self.writes
        if -number in self.lost:
            raise Unavailable("mongodb", "away")
        stored = await super().store_chunks(chunks, expected)
        if number in self.lost:
            raise Unavailable("mongodb", "its answer was lost")
        await self._pause()
        return stored

    async def store_bundle(self, bundle: Bundle) -> None:
        await self._pause()
        await super().store_bundle(bundle)
        await self._pause()

    async def bundles(self, bundle_ids: Sequence[str]) -> list[Bundle]:
        await self._pause()
        found = await super().bundles(bundle_ids)
        await self._pause()
        return found

    async def drop_bundles(self, bundle_ids: Sequence[str]) -> None:
        await self._pause()
        await super().drop_bundles(bundle_ids)

    @property
    def bundles_left(self) -> int:
        return len(self._bundles)


def handed(attempt: int = 1) -> HandOut:
    return HandOut("ada", JOB, f"w-{attempt}", attempt)


def text(number: int, size: int = HUGE) -> str:
    return f"{number:<{size}}"


async def take_all(store: MemoryEndpointStore) -> list[int]:
    return [int(one) for one in await take(store, JOB, await store.chunks(JOB))]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PAUSE_S", 0.0)
    monkeypatch.setattr(streaming, "TRIES", 10_000)


@pytest.mark.parametrize("seed", range(10))
async def test_each_chunk_is_given_once_and_in_order(seed: int) -> None:
    chance = Random(seed)
    store = Slow(chance)
    gateways = [Streams(store), Streams(store)]
    runs: list[list[int]] = []
    size = chance.choice((HUGE, HUGE // 3))
    over = asyncio.Event()

    async def worker() -> None:  # the SDK posts a chunk when the one before it was answered
        for number in range(60):
            assert await chance.choice(gateways).add(handed(), text(number, size), 1) is Streamed.KEPT
        over.set()

    async def client() -> None:
        while not over.is_set():
            runs.append(await take_all(store))
            for _ in range(chance.choice((0, 5, 40))):
                await asyncio.sleep(0)

    await asyncio.gather(worker(), client(), client(), client())
    runs.append(await take_all(store))
    assert [number for run in sorted(run for run in runs if run) for number in run] == list(range(60))
    assert store.bundles_left == 0
    known = await store.chunks(JOB)
    assert known is not None
    assert (known.taken, known.count, known.bytes) == (60, 0, 0)


@pytest.mark.parametrize("seed", range(5))
async def test_two_posts_at_once_are_both_kept(seed: int) -> None:
    store = Slow(Random(seed))
    gateways = [Streams(store), Streams(store)]
    for number in range(0, 40, 2):
        both = (gateways[at].add(handed(), text(number + at), 1) for at in (0, 1))
        assert await asyncio.gather(*both) == [Streamed.KEPT, Streamed.KEPT]
    seen = await take_all(store)
    assert [{seen[at], seen[at + 1]} for at in range(0, 40, 2)] == [{at, at + 1} for at in range(0, 40, 2)]
    assert store.bundles_left == 0


@pytest.mark.parametrize("seed", range(5))
async def test_the_newest_attempt_is_what_waits_whoever_comes_late(seed: int) -> None:
    store = Slow(Random(seed))
    old, new = Streams(store), Streams(store)

    async def stream(gateway: Streams, attempt: int) -> list[Streamed]:
        return [await gateway.add(handed(attempt), text(100 * attempt + number), 1) for number in range(20)]

    answers = await asyncio.gather(stream(old, 1), stream(new, 2))
    assert set(answers[1]) == {Streamed.KEPT}
    assert answers[0] == sorted(answers[0], key=lambda one: one is Streamed.OLD), "none is kept after one that is not"
    assert await take_all(store) == list(range(200, 220))
    assert store.bundles_left == 0


@pytest.mark.parametrize("sign", [1, -1], ids=["carried out", "not carried out"])
async def test_a_chunk_whose_write_had_no_answer_is_known_again(sign: int) -> None:
    """Whether it was written or not, the SDK is told 503 and posts it again."""
    store = Slow(Random(1))
    gateway = Streams(store)
    store.lost = {sign * number for number in range(1, 60, 3)}
    failed = 0
    for number in [1, 1, 1, 2, 2, 3, 3, 3, 3, 4]:  # the same text again is another chunk
        while True:
            try:
                assert await gateway.add(handed(), text(number), 1) is Streamed.KEPT
                break
            except Unavailable:
                failed += 1
    assert failed
    store.lost = set()
    assert await take_all(store) == [1, 1, 1, 2, 2, 3, 3, 3, 3, 4]


async def test_the_same_text_after_an_answer_is_another_chunk() -> None:
    store = Slow(Random(2))
    gateway = Streams(store)
    store.lost = {1}
    with pytest.raises(Unavailable):
        await gateway.add(handed(), "1", 1)
    for number in (2, 1, 1):
        await gateway.add(handed(), str(number), 1)
    assert await take_all(store) == [1, 2, 1, 1]
    store.lost = {store.writes + 1}
    with pytest.raises(Unavailable):
        await gateway.add(handed(1), "5", 1)
    await gateway.add(handed(2), "5", 1)
    assert await take_all(store) == [5]


async def test_bundles_that_can_not_be_deleted_cost_nobody_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Slow(Random(3))
    gateway = Streams(store)

    async def away(_: Sequence[str]) -> None:
        raise Unavailable("mongodb", "away")

    monkeypatch.setattr(store, "drop_bundles", away)
    for number in range(3):
        await gateway.add(handed(), text(number), 7)
    assert await take_all(store) == [0, 1, 2]
    for number in (3, 4):
        await gateway.add(handed(), text(number), 7)
    assert await gateway.add(handed(2), text(5), 7) is Streamed.KEPT
    assert await take_all(store) == [5]
    assert store.bundles_left == 3
    await store.sweep_chunks(7)
    assert store.bundles_left == 0


async def test_a_bundle_whose_time_is_over_is_left_out() -> None:
    store = Slow(Random(4))
    gateway = Streams(store)
    for number in range(3):
        await gateway.add(handed(), text(number), number)
    await store.sweep_chunks(1)  # the first bundle was made with the second chunk
    assert await take_all(store) == [1, 2]
    known = await store.chunks(JOB)
    assert known is not None
    assert (known.taken, known.bytes) == (3, 0)


async def test_a_long_stream_that_nobody_takes_writes_little_more_than_itself() -> None:
    """Each chunk is written with those that are in the document: never with all that wait."""
    store = MemoryEndpointStore()
    gateway, written, read = Streams(store), [], []
    ask, put = store.chunks, store.store_chunks

    async def asked(job_id: str) -> Chunks | None:
        found = await ask(job_id)
        read.append(sum(map(len, found.waiting)) + len(found.bundled) if found else 0)
        return found

    async def stored(chunks: Chunks, expected: int) -> bool:
        written.append(sum(map(len, chunks.waiting)) + len(chunks.bundled))
        return await put(chunks, expected)

    store.chunks, store.store_chunks = asked, stored  # type: ignore[method-assign]
    for number in range(2_000):
        await gateway.add(handed(), text(number, 200), 1)
    assert max(*written, *read) <= TAIL_BYTES + 2_000 // (TAIL_BYTES // 200)
    assert await take_all(store) == list(range(2_000))
