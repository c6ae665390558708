"""What operators did with dead letters, which themselves can't be changed. One document for each letter, the last word.

A letter is known by its place and its time: a topic that was made anew has other letters at the same places.
"""

from enum import StrEnum

from schemas.ids import Words
from schemas.instants import Instant
from schemas.shape import shape


class Fate(StrEnum):
    REDRIVEN = "redriven"  # it belongs to ``replay_id``, whose checkpoint says whether it is written already
    EDITED = "edited"  # sent to its topic with another value
    DISCARDED = "discarded"


@shape
class Disposition:
    """``letter``: partition:offset; ``letter_at``: the topic's time of it. ``actor``: who, ``reason``: why.

    ``before`` and ``after``: digests of an edited value, never the value.
    """

    letter: str
    letter_at: Instant
    fate: Fate
    at: Instant
    actor: str
    reason: Words = ""
    replay_id: str | None = None
    before: str | None = None
    after: str | None = None
