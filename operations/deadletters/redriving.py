"""Redriving: letters go back to the topic that they came from, as a replay (``operations/replay``) of just these.

A letter belongs to one replay at a time: it is claimed before anything is written, and how far the replay has come says
whether it is written. So a redrive that was killed leaves nothing unclear: `openv replay r-… --continue` goes on.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from operations.audit import Actor, audited
from operations.core.dead_letters import Seen, Sought, why_not
from operations.core.replay_names import ORIGIN_TOPIC
from operations.core.replay_scope import Asked
from operations.deadletters.reading import letters, named
from operations.replay.dry_run import CHOSEN_MAX, DryRun
from operations.replay.dry_run import plan as dry_run
from operations.replay.execute import Ended, execute
from operations.replay.execution import Wishes
from operations.replay.room import Room, Tell
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.dispositions import Disposition, Fate
from schemas.replay_plans import ReplayPlan
from schemas.topics import DEADLETTER

RATE = 50.0  # letters a second, unless an operator says otherwise: live traffic does not feel it
KEPT_MS = DEADLETTER.retention_ms + 15 * 86_400_000  # of dispositions: longer than any letter


@dataclass(slots=True)
class Choice:
    """``chosen``: those that can be redriven, the oldest first within each partition; ``refused``: the others, by why.

    ``overrules``: they were named one by one, so that one may go again that was redriven or discarded before.
    ``left``: how many more there are than fit into one replay.
    """

    chosen: list[Seen] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    overrules: bool = False
    left: int = 0

    def take(self, seen: Seen) -> None:
        """One that is meant."""
        if (reason := why_not(seen)) is not None:
            self.refused[reason] += 1
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
    choice = Choice(overrules=bool(places))
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
    places = tuple((one.record.partition, one.record.offset) for one in choice.chosen)
    asked = Asked(source=DEADLETTER.name, target=ORIGIN_TOPIC, chosen=places)
    return Redrive(choice, await dry_run(room, DryRun(asked, rehearse), tell))


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
        ended = await execute(room, made.replay_id, None, actor, wishes, tell)
        written = ended.plan.checkpoint.written if ended.plan.checkpoint else 0
        audit.detail |= {"state": ended.plan.state, "written": str(written)}
    return ended


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
    store = room.database.dispositions
    await store.forget_dispositions(at - KEPT_MS)
    known = [one for one in choice.chosen if one.disposition is not None]
    over = {one.place for one in known}  # chosen in spite of it: named, or of a replay that ended without them
    won = await store.dispose([one for one in claims if one.letter not in over])
    won |= await store.dispose([one for one in claims if one.letter in over], over=True)
    if len(won) < len(claims):
        await store.revoke(won, replay_id)
        raise StackError(
            f"{len(claims) - len(won):,} of these letters were redriven or discarded by somebody else meanwhile. "
            "Nothing was written: look, and try again."
        )


def _light(seen: Seen) -> Seen:
    """Without its value: there may be fifty thousand of them."""
    record = seen.record
    bare = type(record)(record.topic, record.partition, record.offset, record.timestamp, b"", b"", ())
    return Seen(bare, seen.letter, seen.standing, seen.disposition)
