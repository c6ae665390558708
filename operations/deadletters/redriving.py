"""Redriving: letters go back to the topic that they came from, as a replay (``operations/replay``) of just these.

A letter belongs to one replay at a time: it is claimed before anything is written, and how far the replay has come says
whether it is written. So a redrive that was killed leaves nothing unclear: `openv replay r-… --continue` goes on.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from operations.audit.recording import Actor, audited
from operations.core.dead_letters import Seen, Sought, Standing, why_not
from operations.core.replay_names import ORIGIN_TOPIC
from operations.core.replay_records import Rules, Skipped, written
from operations.core.replay_scope import Asked
from operations.deadletters.claims import claim
from operations.deadletters.reading import letters, named
from operations.replay.dry_run import CHOSEN_MAX, DryRun
from operations.replay.dry_run import plan as dry_run
from operations.replay.execute import Ended, execute
from operations.replay.pace import Wishes
from operations.replay.room import Room, Tell
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.ports import Unavailable
from schemas.dispositions import Disposition, Fate
from schemas.replay_plans import ReplayPlan, ReplayState
from schemas.replays import MOST_REPLAYS
from schemas.topics import DEADLETTER

SAME_LENGTH = "r-xxxxxxxx"  # as a replay's id


@dataclass(slots=True)
class Choice:
    """``chosen``: those that can be redriven, the oldest first within each partition; ``refused``: the others, by why;
    ``standings``: how those stand.

    ``left``: how many more there are than fit into one replay; ``at``: when (ms) they began to be looked at.
    """

    chosen: list[Seen] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    standings: Counter[Standing] = field(default_factory=Counter)
    left: int = 0
    at: int = 0

    def take(self, seen: Seen) -> None:
        """One that is meant."""
        if (reason := why_left(seen)) is not None:
            self.refused[reason] += 1
            self.standings[seen.standing] += 1
        elif len(self.chosen) >= CHOSEN_MAX:
            self.left += 1
        else:
            self.chosen.append(_light(seen))


@dataclass(frozen=True, slots=True)
class Redrive:
    """What is planned: ``plan`` is None where nothing can be redriven."""

    choice: Choice
    plan: ReplayPlan | None


async def choose(room: Room, places: Sequence[str], sought: Sought) -> Choice:
    """Those of these ids, or where there are none, those sought."""
    choice = Choice(at=now_ms())
    if places:
        for seen in await named(room, places):
            choice.take(seen)
        return choice
    async for some in letters(room, sought):
        for seen in some:
            choice.take(seen)
    return choice


async def plan(room: Room, choice: Choice, tell: Tell, *, rehearse: bool = True) -> Redrive:
    """The dry run: what would be written and what would change. Nothing is."""
    if not choice.chosen:
        return Redrive(choice, None)
    return Redrive(choice, await dry_run(room, DryRun(asked_of(choice), rehearse, choice.at or None), tell))


def asked_of(choice: Choice) -> Asked:
    """The replay of just these."""
    places = tuple((one.record.partition, one.record.offset) for one in choice.chosen)
    return Asked(source=DEADLETTER.name, target=ORIGIN_TOPIC, chosen=places)


async def redrive(room: Room, wanted: Redrive, actor: Actor, wishes: Wishes, tell: Tell, *, reason: str = "") -> Ended:
    """Write what was planned. Raises ``StackError`` where another redrive has some of them, ``Unavailable``."""
    made, choice = wanted.plan, wanted.choice
    if made is None:
        raise StackError("None of these dead letters can be redriven.")
    detail = {"letters": str(len(choice.chosen)), "refused": str(choice.refused.total())}
    async with audited(
        room.log, actor, "deadletters.redrive", target=made.replay_id, reason=reason, detail=detail
    ) as audit:
        await _claim(room, made.replay_id, choice, actor, reason)
        try:
            ended = await execute(room, made.replay_id, None, actor, wishes, tell, claimed=True)
        except (StackError, Unavailable):
            await _let_go(room, made.replay_id, choice)
            raise
        written_now = ended.plan.checkpoint.written if ended.plan.checkpoint else 0
        audit.detail |= {"state": ended.plan.state, "written": str(written_now)}
    return ended


async def _let_go(room: Room, replay_id: str, choice: Choice) -> None:
    """Of one that never began. Where that can't be done, cancelling the replay does it."""
    with suppress(Unavailable):
        stands = await room.database.replays.replay(replay_id)
        if stands is None or stands.state is ReplayState.PLANNED:
            await room.database.dispositions.revoke([one.place for one in choice.chosen], replay_id)


async def _claim(room: Room, replay_id: str, choice: Choice, actor: Actor, reason: str) -> None:
    at = now_ms()
    claims = [
        Disposition(
            letter=one.place,
            letter_at=one.record.timestamp,
            fate=Fate.REDRIVEN,
            at=at,
            actor=actor.name,
            reason=reason,
            replay_id=replay_id,
        )
        for one in choice.chosen
    ]
    # Chosen in spite of it: named, or of a replay that ended without them.
    known = {one.place for one in choice.chosen if one.disposition is not None}
    won = await claim(room, claims, known)
    if len(won) < len(claims):
        await room.database.dispositions.revoke(won, replay_id)
        taken = len(claims) - len(won)
        raise StackError(
            f"{taken:,} of these letters {'was' if taken == 1 else 'were'} redriven or discarded by somebody else "
            "meanwhile. Nothing was written: look, and try again."
        )


def why_left(seen: Seen) -> str | None:
    """Why a redrive would leave it where it is; None where it would be written."""
    return why_not(seen) or _left_out(seen)


def _left_out(seen: Seen) -> str | None:
    """Why a replay would pass over it, or None: it must not be claimed then, or it would count as redriven. Nor is one
    that another replay has, which may write it at any moment."""
    if seen.standing is Standing.REDRIVING and seen.disposition is not None:
        return f"{seen.disposition.replay_id} has it, and is not over: continue or cancel that"
    rules = Rules(SAME_LENGTH, ORIGIN_TOPIC, MOST_REPLAYS)
    found = written(seen.record, seen.place, rules)
    return found.value if isinstance(found, Skipped) else None


def _light(seen: Seen) -> Seen:
    """Without its value: there may be fifty thousand of them."""
    record = seen.record
    bare = type(record)(record.topic, record.partition, record.offset, record.timestamp, b"", b"", ())
    return Seen(bare, seen.letter, seen.standing, seen.disposition)
