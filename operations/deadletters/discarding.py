"""Discarding: a letter stays where it is until its topic drops it, and is looked at no more."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from operations.audit import Actor, audited
from operations.core.dead_letters import Seen, Sought
from operations.deadletters.reading import letters, named
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.dispositions import Disposition, Fate

REASON_MAX = 500
AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class Discarded:
    """``letters``: how many are discarded, or would be; ``taken``: those that somebody else was quicker with."""

    letters: int
    taken: int = 0


async def discard(
    room: Room, places: Sequence[str], sought: Sought, actor: Actor, reason: str, *, execute: bool
) -> Discarded:
    """Say of those of these ids, or of those sought, that nothing will be done with them; without ``execute`` they are
    only counted. Raises ``StackError``, ``Unavailable``."""
    if not reason.strip():
        raise StackError("Say why: --reason. Whoever looks for these letters will want to know.")
    if len(reason) > REASON_MAX:
        raise StackError(f"A reason has at most {REASON_MAX} characters.")
    if not execute:
        return Discarded(sum([len(some) async for some in _meant(room, places, sought)]))
    target = ", ".join(places) if len(places) <= 10 else f"{len(places)} letters"
    done = taken = 0
    async with audited(room.log, actor, "deadletters.discard", target=target or "as sought", reason=reason) as audit:
        async for some in _meant(room, places, sought):
            at = now_ms()
            wanted = [
                Disposition(
                    letter=one.place,
                    letter_at=one.record.timestamp,
                    fate=Fate.DISCARDED,
                    at=at,
                    actor=actor.name,
                    reason=reason,
                )
                for one in some
            ]
            over = {one.place for one in some if one.disposition is not None}
            won = await room.database.dispositions.dispose([one for one in wanted if one.letter not in over])
            won |= await room.database.dispositions.dispose([one for one in wanted if one.letter in over], over=True)
            done, taken = done + len(won), taken + len(wanted) - len(won)
        audit.detail |= {"letters": str(done), "taken": str(taken)}
    return Discarded(done, taken)


async def _meant(room: Room, places: Sequence[str], sought: Sought) -> AsyncIterator[list[Seen]]:
    if places:
        found: list[Seen] = await named(room, places)
        for first in range(0, len(found), AT_A_TIME):
            yield found[first : first + AT_A_TIME]
        return
    async for some in letters(room, sought):
        yield some
