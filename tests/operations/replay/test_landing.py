"""What a dead executor has written is found, also where its last requests reach the broker only now."""

from collections.abc import Mapping
from typing import cast

import pytest

from operations.replay import landing
from operations.replay.landing import landed
from operations.stack.errors import StackError
from repo.topic_reader import NotKept, TopicReader
from schemas.replay_plans import Place
from schemas.replays import REPLAY_ID, SOURCE_AT
from tests.operations.replay.made import Made

TARGET = "x.target"
SINCE = (Place(topic=TARGET, partition=0, offset=7),)


def written(offset: int, source_at: str, replay_id: str = "r-mine") -> Made:
    return Made(TARGET, offset=offset, headers=[(REPLAY_ID, replay_id.encode()), (SOURCE_AT, source_at.encode())])


LOOK_S = 0.9  # what one look takes here: two of them, and nothing more, are less than QUIET_S


class Target:
    """A topic of one partition that grows: each look at its end shows one more of ``steps``."""

    looked_s = 0.0

    def __init__(self, *steps: list[Made], is_kept: bool = True) -> None:
        self._steps = list(steps)
        self._is_kept = is_kept
        self._there: list[Made] = []
        self._asked: list[Made] = []

    async def ends(self, _: str) -> Mapping[int, int]:
        Target.looked_s += LOOK_S
        self._there += self._steps.pop(0) if self._steps else []
        return {0: max((one.offset + 1 for one in self._there), default=7)}

    def begin(self, _: str, spans: Mapping[int, tuple[int, int]]) -> None:
        first, end = spans[0]
        self._asked = [one for one in self._there if first <= one.offset < end]

    async def next(self, _: int) -> Mapping[int, list[Made]] | None:
        if not self._is_kept:
            raise NotKept(f"{TARGET} partition 0")
        asked, self._asked = self._asked, []
        return {0: asked} if asked else None


@pytest.fixture(autouse=True)
def a_clock_of_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes by looks alone."""
    monkeypatch.setattr(landing, "_now", lambda: Target.looked_s)
    monkeypatch.setattr(landing, "LOOK_EVERY_S", 0.0)


async def found(target: Target, *, may_come: bool = True) -> set[tuple[int, int]]:
    return set(await landed(cast("TopicReader", target), "r-mine", SINCE, may_come=may_come))


async def test_what_comes_late_is_waited_for() -> None:
    late = Target([written(7, "0/40")], [], [written(8, "2/41")], [], [written(9, "0/42")])
    assert await found(late) == {(0, 40), (2, 41), (0, 42)}
    by_and_by = Target(*([written(offset, f"0/{offset}")] for offset in range(7, 17)))
    assert len(await found(by_and_by)) == 10, "each starts the wait anew"


async def test_where_nothing_was_under_way_one_look_is_enough() -> None:
    assert await found(Target([written(7, "0/40")], [written(8, "0/41")]), may_come=False) == {(0, 40)}


async def test_only_its_own_records_are() -> None:
    others = [written(7, "0/40", "r-other"), written(8, "no place"), Made(TARGET, offset=9), written(6, "0/39")]
    assert await found(Target(others), may_come=False) == set()


async def test_a_target_that_lost_some_can_tell_nothing() -> None:
    with pytest.raises(StackError, match="was cut off since the replay was interrupted"):
        await found(Target([written(7, "0/40")], is_kept=False))
