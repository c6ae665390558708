"""What a measurement is to the frame."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.figures import Figure
from bench.world import World


@dataclass(frozen=True)
class Measurement:
    """``how`` says in a sentence or two what was done and what the baseline is; ``within_s`` ends it, servers included.

    ``name`` is what ``--only`` takes, ``title`` a row above the figures.
    """

    name: str
    title: str
    how: str
    run: Callable[[World], Awaitable[Sequence[Figure]]]
    within_s: float = 240.0
