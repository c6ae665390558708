"""Words of many speakers in one queue: each speaker's in their order, speakers by turns, none faster than its pace.

So one that says very much delays and displaces its own words alone.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """What one speaker may say: so much ``at_once`` after a silence, and so much a second."""

    at_once: float
    per_second: float


UNPACED = Pace(math.inf, math.inf)


@dataclass(slots=True)
class _Speaker(Generic[T]):
    """``may``: how many words it may say now. ``lost``: words of it were dropped since ``healed`` named it."""

    words: deque[T]
    may: float
    lost: bool = False


class FairQueue(Generic[T]):
    """``each``: how many words of one speaker wait at most; of more, its oldest is dropped. Times in seconds."""

    def __init__(self, each: int, pace: Pace = UNPACED) -> None:
        self._each = each
        self._pace = pace
        self._speakers: dict[str, _Speaker[T]] = {}  # whose turn is next comes first
        self._at = -math.inf

    def put(self, speaker: str, word: T) -> None:
        """It says this after all that it said before."""
        known = self._speakers.get(speaker)
        if known is None:
            known = self._speakers[speaker] = _Speaker(deque(maxlen=self._each), self._pace.at_once)
        known.lost = known.lost or len(known.words) == self._each
        known.words.append(word)

    def take(self, most: int, now: float | None) -> list[T]:
        """What is to be said now, ``most`` words at most. ``now`` None: whatever the pace."""
        if now is not None:
            self._earn(now)
        least = -math.inf if now is None else 1
        turns = deque((name, one) for name, one in self._speakers.items() if one.words and one.may >= least)
        taken: list[T] = []
        while turns and len(taken) < most:
            name, one = turns.popleft()
            taken.append(one.words.popleft())
            one.may -= 1
            if one.words and one.may >= least:
                turns.append((name, one))
            self._speakers[name] = self._speakers.pop(name)  # its next turn is after everybody's
        return taken

    def next_in(self, now: float) -> float | None:
        """In how many seconds there is something to say; None: nobody has anything to say."""
        self._earn(now)
        most = max((one.may for one in self._speakers.values() if one.words), default=None)
        return None if most is None else max(0.0, 1 - most) / self._pace.per_second

    def waiting(self, speaker: str) -> int:
        """How many words of this one wait."""
        known = self._speakers.get(speaker)
        return len(known.words) if known is not None else 0

    def healed(self) -> list[str]:
        """Who lost words, and has said all that was left, since this was asked last."""
        found = [name for name, one in self._speakers.items() if one.lost and not one.words]
        for name in found:
            self._speakers[name].lost = False
        return found

    def clear(self) -> None:
        """Nothing of all this is said, nothing counts as lost."""
        for one in self._speakers.values():
            one.words.clear()
            one.lost = False

    def __len__(self) -> int:
        return sum(len(one.words) for one in self._speakers.values())

    def _earn(self, now: float) -> None:
        """Everybody may say more by now; who is as if it had never spoken is forgotten."""
        passed, self._at = max(0.0, now - self._at), max(self._at, now)
        for name, one in list(self._speakers.items()):
            if one.may < self._pace.at_once:
                one.may = min(self._pace.at_once, one.may + passed * self._pace.per_second)
            if one.may >= self._pace.at_once and not one.words and not one.lost:
                del self._speakers[name]
