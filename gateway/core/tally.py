"""What happens on live connections, counted where it happens: plain numbers, for they are moved for every frame."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """One gateway's, since it started. ``opened`` by kind (``ws``, ``sse``), ``closed`` by code (``lost``: by its
    client or the network); ``frames`` and ``bytes`` as they were handed to connections, ``conflated``: progress that a
    newer one replaced before it was sent. ``resumed``: those that came back and were told all that they had missed,
    ``shown`` the snapshots. ``gaps``: records that this gateway never saw.
    """

    opened: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    bytes: int = 0
    conflated: int = 0
    resumed: int = 0
    shown: int = 0
    gaps: int = 0
