"""Letters that an operator has dealt with are left as they are: seen by the dry run, and by whoever carries it out."""

import random
from collections import Counter
from collections.abc import Collection

import pytest

from operations.core.replay_names import ORIGIN_TOPIC
from operations.core.replay_records import Rules, Written
from operations.core.replay_scope import Asked
from operations.replay.commands import told
from operations.replay.dealt_with import DISCARDED, SINCE, DealtWith, dealt_with
from operations.replay.execute import Ended
from operations.replay.execution import Execution
from operations.replay.pace import Wishes
from operations.replay.sieve import OUTSIDE, Sieve
from operations.replay.sources import Chunk, Resolved
from operations.replay.tenure import Tenure
from repo.memory_letters import MemoryDispositionStore
from repo.memory_replays import MemoryReplayStore
from schemas.dispositions import Disposition, Fate
from schemas.replay_plans import Checkpoint, Place, ReplayState, Span
from schemas.topics import COMMANDS, DEADLETTER
from tests.operations.replay.made import ListSource, Made, a_plan
from tests.operations.replay.test_resumed import NOBODY, Kafka, Killed

AT = Made().timestamp
PLANNED_AT = AT + 1_000
ASKED = Asked(DEADLETTER.name, "x.target")
RULES = Rules("r-test", ASKED.target, 5)


class Asking(MemoryDispositionStore):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    async def dispositions(self, letters: Collection[str]) -> dict[str, Disposition]:
        self.asked.append(list(letters))
        return await super().dispositions(letters)


def letter(offset: int, partition: int = 0) -> Made:
    return Made(topic=DEADLETTER.name, partition=partition, offset=offset)


def word(place: str, fate: Fate = Fate.DISCARDED, *, at: int = AT, letter_at: int = AT, of: str = "") -> Disposition:
    return Disposition(letter=place, letter_at=letter_at, fate=fate, at=at, actor="op", replay_id=of or None)


async def test_those_that_were_discarded_are_left_and_all_of_a_chunk_are_asked_for_at_once() -> None:
    store = Asking()
    await store.dispose([word("3:1"), word("3:2", letter_at=AT - 1), word("3:3", Fate.REDRIVEN, of="r-before")])
    sieve = Sieve(ASKED, Resolved((), AT, None), RULES, dealt_with(store, ASKED, RULES))
    early = Made(topic=DEADLETTER.name, partition=3, offset=4, timestamp=AT - 1)
    letters = [*(letter(offset, 3) for offset in range(4)), early]
    judged = await sieve.judgements(Chunk(3, letters, range(5), 5))
    assert [isinstance(one, Written) or one for one in judged] == [True, DISCARDED, True, True, OUTSIDE]
    assert store.asked == [["3:0", "3:1", "3:2", "3:3"]]


@pytest.mark.parametrize(
    "asked",
    [
        Asked(DEADLETTER.name, ORIGIN_TOPIC, chosen=((0, 1),)),  # a redrive, which has claims of its own
        Asked("x.source", "x.target"),
        Asked("file:/x", COMMANDS.name),
    ],
)
def test_of_nothing_else_it_is_asked(asked: Asked) -> None:
    assert dealt_with(MemoryDispositionStore(), asked, Rules("r-test", asked.target, 5), AT) is None


@pytest.mark.parametrize(
    ("target", "since", "said", "reason"),
    [
        (COMMANDS.name, PLANNED_AT, word("0:7", at=PLANNED_AT - 1), DISCARDED),
        (COMMANDS.name, PLANNED_AT, word("0:7", at=PLANNED_AT + 1), DISCARDED),
        ("file:/x", PLANNED_AT, word("0:7", at=PLANNED_AT + 1), DISCARDED),
        (COMMANDS.name, PLANNED_AT, word("0:7", Fate.EDITED, at=PLANNED_AT + 1), SINCE),
        (ORIGIN_TOPIC, PLANNED_AT, word("0:7", Fate.REDRIVEN, at=PLANNED_AT + 1, of="r-other"), SINCE),
        # Of itself: noted, and killed before it was sent.
        (COMMANDS.name, PLANNED_AT, word("0:7", Fate.REDRIVEN, at=PLANNED_AT + 1, of="r-test"), None),
        # The dry run saw it so, and whoever replays by a scope means it.
        (COMMANDS.name, PLANNED_AT, word("0:7", Fate.REDRIVEN, at=PLANNED_AT - 1, of="r-other"), None),
        (COMMANDS.name, None, word("0:7", Fate.REDRIVEN, at=PLANNED_AT + 1, of="r-other"), None),
        # A copy sends nothing back.
        ("file:/x", PLANNED_AT, word("0:7", Fate.REDRIVEN, at=PLANNED_AT + 1, of="r-other"), None),
    ],
)
async def test_what_became_of_a_letter(target: str, since: int | None, said: Disposition, reason: str | None) -> None:
    store = MemoryDispositionStore()
    await store.dispose([said])
    knows = DealtWith(store, Rules("r-test", target, 5), since)
    assert await knows.reasons(0, [letter(6), letter(7)]) == [None, reason]


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_dies_and_whatever_is_discarded_meanwhile_no_letter_is_written_twice(seed: int) -> None:
    """Nor is one written that was discarded before it was sent; and the count is of what lies there."""
    chance = random.Random(seed)
    spans = [Span(partition=at, first=0, end=40) for at in range(2)]
    records = {at: [letter(offset, at) for offset in range(40)] for at in range(2)}
    store, dispositions = MemoryReplayStore(), MemoryDispositionStore()
    await store.store_replay(
        a_plan(spans, ASKED, [Place(topic="x.target", partition=at, offset=0) for at in range(3)]), 0
    )
    kafka, gone = Kafka(chance, store), set[tuple[int, int]]()
    for life in range(200):
        before = Counter(one for lane in kafka.lanes.values() for one in lane)
        some = [(chance.randrange(2), chance.randrange(40)) for _ in range(3)]
        await dispositions.dispose([word(f"{at}:{offset}") for at, offset in some])
        gone |= {one for one in some if not before[one]}
        kafka.live(chance.randint(2, 9) if life < 50 else 10**6)
        plan = await store.replay("r-test")
        assert plan is not None
        assert plan.checkpoint is not None
        read = {one.partition: one.offset for one in plan.checkpoint.read}
        source = ListSource(records, {one.partition: (read[one.partition], one.end) for one in spans})
        sieve = Sieve(ASKED, Resolved(tuple(spans), None, None), RULES, dealt_with(dispositions, ASKED, RULES, AT))
        execution = Execution(source, sieve, kafka, Tenure(store, plan, "me"), plan, kafka.landed(plan), NOBODY)
        try:
            assert await execution.run(Wishes(), lambda _: None) is None
            break
        except Killed:
            continue
    there = Counter(one for lane in kafka.lanes.values() for one in lane)
    everything = {(at, offset) for at in records for offset in range(40)}
    assert gone
    assert there == Counter(everything - gone)
    done = execution.checkpoint
    assert (done.written, done.skipped) == (len(there), len(gone))


@pytest.mark.parametrize(
    ("source", "written", "words"),
    [
        (DEADLETTER.name, 5, ""),
        (DEADLETTER.name, 4, " 1 letter was discarded, edited or redriven since the dry run, and stays as it is."),
        (DEADLETTER.name, 3, " 2 letters were discarded, edited or redriven since the dry run, and stay as they are."),
        ("x.source", 3, ""),
    ],
)
def test_what_was_left_since_is_told_at_the_end(source: str, written: int, words: str) -> None:
    done, asked = Checkpoint(written=written, quarantined=1), Asked(source, "x.target")
    plan = a_plan((), asked, state=ReplayState.DONE, checkpoint=done, in_scope=6, quarantine=1, lease=None)
    assert told(Ended(plan, 0)) == f"Done: {written} of 5 written, 1 of 1 to the quarantine.{words}"
