"""An execution is bound to its dry run: which one is meant, and whether what it saw still holds."""

from collections.abc import Mapping, Sequence

from operations.core.replay_names import is_file
from operations.core.replay_scope import Asked, asked_in, chosen_places
from operations.replay.dry_run import digest_of
from operations.replay.files import measured, path_of
from operations.replay.marks import differs
from operations.replay.room import Room
from operations.replay.sources import Resolved
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.topic_reader import TopicReader
from schemas.replay_plans import ReplayPlan, ReplayState

PLAN_GOOD_MS = 24 * 3_600_000
_UNFINISHED = frozenset({ReplayState.RUNNING, ReplayState.CANARY, ReplayState.PAUSED})


def asked_of(plan: ReplayPlan) -> Asked:
    """What the plan was made of."""
    return asked_in(plan.asked, None if plan.chosen is None else chosen_places(plan.chosen))


def is_as_planned(plan: ReplayPlan, scope: Asked) -> bool:
    """Whether what it says of its scope is what was looked at: where somebody wrote into the document, it is not."""
    resolved = Resolved(plan.spans, plan.since, plan.until, plan.source_mark)
    said = (scope.words(), scope.source, scope.target, scope.max_replays)
    told = (dict(plan.asked), plan.source, plan.target, plan.max_replays)
    return said == told and digest_of(scope.words(), resolved) == plan.digest


def differences(planned: Mapping[str, str], said: Mapping[str, str]) -> list[str]:
    """In words."""
    return [
        f"{name} is {said.get(name, 'not given')}, the dry run had {planned.get(name, 'none')}"
        for name in sorted(planned.keys() | said.keys())
        if planned.get(name) != said.get(name)
    ]


async def plan_of(room: Room, asked: Asked) -> str:
    """The newest replay of these words: a dry run, or one that is not over, so that who says the same again goes on
    with it. Raises ``StackError`` that says what is missing."""
    same = [one for one in await room.database.replays.planned_as(asked.digest()) if not _came_to_nothing(one)]
    if same:
        return _meant(same)
    words = asked.words()
    for plan in await room.database.replays.replays():
        if plan.state is ReplayState.PLANNED and plan.source == asked.source:
            told = "; ".join(differences(plan.asked, words))
            raise StackError(f"There was no dry run of exactly this. {plan.replay_id} comes close: {told}.")
    raise StackError("There was no dry run of this yet: run it without --execute first, and look at what it finds.")


def _came_to_nothing(plan: ReplayPlan) -> bool:
    return plan.state is ReplayState.CANCELLED and plan.checkpoint is None


def _meant(same: Sequence[ReplayPlan]) -> str:
    """Of replays of the same words, the newest first. None is begun beside one that is not over, nor an older dry run
    after one was carried out: what that has written would be written twice."""
    newest, unfinished = same[0], next((one for one in same if one.state in _UNFINISHED), None)
    if unfinished is not None and unfinished is not newest:
        raise StackError(
            f"{unfinished.replay_id} is the same, and not over: `openv replay {unfinished.replay_id} --continue` goes "
            f"on, `openv replays cancel {unfinished.replay_id}` ends it."
        )
    if newest.state is not ReplayState.PLANNED and newest.state not in _UNFINISHED:
        raise StackError(f"That was {newest.replay_id}, which is {newest.state}: plan it again (the dry run).")
    return newest.replay_id


async def still_holds(plan: ReplayPlan, reader: TopicReader) -> None:
    """Raises ``StackError`` where the source is not what the dry run saw."""
    again = "Plan it again (the dry run)."
    if plan.state is ReplayState.PLANNED and now_ms() - plan.created_at > PLAN_GOOD_MS:
        raise StackError(f"The dry run of {plan.replay_id} is older than a day, and things change. {again}")
    if is_file(plan.source):
        if measured(path_of(plan.source))[2] != plan.source_mark:
            raise StackError(f"{path_of(plan.source)} is not the file that the dry run read. {again}")
        return
    starts, ends = await reader.starts(plan.source), await reader.ends(plan.source)
    read = {one.partition: one.offset for one in plan.checkpoint.read} if plan.checkpoint else {}
    for span in plan.spans:
        first = max(span.first, read.get(span.partition, 0))
        if first < span.end and starts.get(span.partition, span.end) > first:
            raise StackError(
                f"{plan.source} partition {span.partition} does not keep offset {first} any more, which the dry run "
                f"saw: it begins at {starts.get(span.partition, 'nowhere')}. {again}"
            )
        if ends.get(span.partition, 0) < span.end:
            raise StackError(f"{plan.source} partition {span.partition} is shorter than it was: made anew? {again}")
    other = await differs(reader, plan.source, plan.source_mark) if plan.source_mark else None
    if other is not None:
        raise StackError(
            f"{plan.source} holds another record at {other[0]}/{other[1]} than the dry run saw: made anew? {again}"
        )
