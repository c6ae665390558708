"""What a dry run saw is executed only while the source still is what it was."""

from typing import cast

import pytest

from operations.core.replay_scope import Asked
from operations.replay.bound import still_holds
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.topic_reader import TopicReader
from schemas.replay_plans import Checkpoint, Place, ReplayPlan, ReplayState, Span
from tests.operations.replay.made import a_plan

ASKED = Asked("x.source", "x.target")
SPANS = (Span(partition=0, first=10, end=20), Span(partition=1, first=0, end=5))
Offsets = dict[int, int]


class Source:
    """Of the source, all that is asked of a ``TopicReader`` here."""

    def __init__(self, starts: Offsets, ends: Offsets) -> None:
        self._starts, self._ends = starts, ends

    async def starts(self, _: str) -> Offsets:
        return self._starts

    async def ends(self, _: str) -> Offsets:
        return self._ends


async def holds(plan: ReplayPlan, starts: Offsets, ends: Offsets) -> None:
    await still_holds(plan, cast("TopicReader", Source(starts, ends)))


def planned() -> ReplayPlan:
    return a_plan(SPANS, ASKED, state=ReplayState.PLANNED, created_at=now_ms(), checkpoint=None, lease=None)


def begun(*read: int) -> ReplayPlan:
    """Carried out up to these positions of its partitions, a week ago."""
    places = tuple(Place(topic="", partition=at, offset=offset) for at, offset in enumerate(read))
    return a_plan(SPANS, ASKED, checkpoint=Checkpoint(read=places))


async def test_what_lies_there_as_it_was_is_executed() -> None:
    await holds(planned(), {0: 10, 1: 0}, {0: 20, 1: 5})
    await holds(planned(), {0: 3, 1: 0}, {0: 900, 1: 900})


@pytest.mark.parametrize(
    ("starts", "ends", "said"),
    [
        ({0: 11, 1: 0}, {0: 20, 1: 5}, "partition 0 does not keep offset 10 any more"),
        ({0: 10, 1: 1}, {0: 20, 1: 5}, "partition 1 does not keep offset 0 any more"),
        ({0: 10}, {0: 20}, "partition 1 does not keep offset 0 any more"),  # made anew, with fewer partitions
        ({0: 10, 1: 0}, {0: 19, 1: 5}, "partition 0 is shorter than it was"),
        ({0: 0, 1: 0}, {0: 0, 1: 0}, "partition 0 is shorter than it was"),
    ],
)
async def test_what_has_lost_some_of_it_is_not(starts: Offsets, ends: Offsets, said: str) -> None:
    with pytest.raises(StackError, match=said):
        await holds(planned(), starts, ends)


async def test_one_that_goes_on_needs_what_is_left_of_it() -> None:
    await holds(begun(15, 5), {0: 15, 1: 5}, {0: 20, 1: 5})
    with pytest.raises(StackError, match="partition 0 does not keep offset 15 any more"):
        await holds(begun(15, 5), {0: 16, 1: 5}, {0: 20, 1: 5})
