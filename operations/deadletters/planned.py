"""A redrive is bound to its dry run: what is written is what was looked at, or it is said what differs now."""

from collections.abc import Sequence

from operations.core.counting import several
from operations.core.dead_letters import Seen, Sought, Standing
from operations.deadletters.reading import those
from operations.deadletters.redriving import Choice, Redrive, asked_of, choose, plan
from operations.replay.bound import asked_of as asked_in
from operations.replay.room import Room, Tell
from operations.replay.tenure import found
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.instants import to_iso
from schemas.replay_plans import ReplayPlan, ReplayState
from schemas.topics import DEADLETTER

Places = frozenset[tuple[int, int]]
_OVER = frozenset({ReplayState.DONE, ReplayState.FAILED, ReplayState.CANCELLED})


def is_dry_run(places: Sequence[str]) -> bool:
    """Whether these name a dry run instead of letters."""
    return any(one.startswith("r-") for one in places)


async def wanted(room: Room, places: Sequence[str], sought: Sought, tell: Tell) -> Redrive:
    """What is to be written now: what a dry run found, named by its id or by what it was looked for by; or letters that
    are named one by one. Raises ``StackError`` where it is not what was looked at, ``Unavailable``."""
    if is_dry_run(places):
        return await planned(room, places[0])
    choice = await choose(room, places, sought)
    if places or not choice.chosen:
        return await plan(room, choice, tell)
    return await planned(room, await _alike(room, choice))


async def planned(room: Room, replay_id: str) -> Redrive:
    """The letters of a dry run, as they stand now. Raises ``StackError`` where it is of something else, or begun, or
    something became of some of them since."""
    made = await found(room.database.replays, replay_id)
    places = places_of(made)
    if places is None:
        raise StackError(f"{replay_id} is no redrive: `openv replay {replay_id} --execute` carries it out.")
    if made.state in _OVER:
        raise StackError(f"{replay_id} is {made.state}: look again, without --execute.")
    if made.state is not ReplayState.PLANNED:
        raise StackError(f"{replay_id} is {made.state}: `openv replay {replay_id} --continue` goes on.")
    seen = await those(room, places)
    if len(seen) < len(places):
        gone = len(places) - len(seen)
        are = "is" if gone == 1 else "are"
        raise StackError(f"{several(gone, 'letter')} of {replay_id} {are} not kept any more: look again.")
    changed = [one for one in seen if _has_changed(one, made)]
    if changed:
        raise StackError(
            f"Of the {several(len(seen), 'letter')} of {replay_id}, {several(len(changed), 'was', 'were')} redriven, "
            "edited or discarded since "
            f"({changed[0].place} is {changed[0].standing}). Nothing was written: look again, without --execute."
        )
    return Redrive(Choice(chosen=seen, at=now_ms()), made)


def places_of(made: ReplayPlan) -> Places | None:
    """The letters of a redrive; None of another replay."""
    if made.source != DEADLETTER.name or made.chosen is None:
        return None
    return frozenset(asked_in(made).chosen or ())


def _has_changed(one: Seen, made: ReplayPlan) -> bool:
    said = one.disposition
    if one.standing is Standing.OPEN or said is None or said.replay_id == made.replay_id:
        return False
    # What was said before the dry run was meant to be overruled.
    return one.standing is Standing.REDRIVING or said.at > made.created_at


async def _alike(room: Room, choice: Choice) -> str:
    """The newest dry run that found just these."""
    for made in await room.database.replays.planned_as(asked_of(choice).digest()):
        if made.state is ReplayState.PLANNED:
            return made.replay_id
    now = frozenset(asked_of(choice).chosen or ())
    plans = [one for one in await room.database.replays.replays() if one.state is ReplayState.PLANNED]
    near = [(len(now ^ places), one) for one in plans if (places := places_of(one)) is not None and now & places]
    if not near:
        raise StackError("There was no dry run of this yet: run it without --execute first, and look at what it finds.")
    _, made = min(near, key=lambda one: one[0])
    before = places_of(made) or frozenset()
    new, gone = len(now - before), len(before - now)
    raise StackError(
        f"{made.replay_id}, the dry run of {to_iso(made.created_at)}, is not of these letters: "
        f"{several(new, 'is', 'are')} new since, {several(gone, 'is', 'are')} gone. Look again, without --execute; or "
        "write just those of the dry "
        f"run: `openv deadletters redrive {made.replay_id} --execute`."
    )
