"""Saying what becomes of letters: of two at once one wins; what was said before is overruled only where it is meant."""

from collections.abc import Collection, Sequence

from operations.replay.room import Room
from schemas.dispositions import Disposition


async def claim(room: Room, wanted: Sequence[Disposition], known: Collection[str]) -> set[str]:
    """Store these; the letters whose last word it is now. ``known``: letters of which something was said before, and
    which were chosen in spite of it. Raises ``Unavailable``."""
    store, over = room.database.dispositions, set(known)
    won = await store.dispose([one for one in wanted if one.letter not in over])
    return won | await store.dispose([one for one in wanted if one.letter in over], over=True)
