"""Ours and the baseline by turns. What disturbs a machine for seconds then disturbs both, and a ratio survives it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def by_turns(
    count: int, ours: Callable[[], Awaitable[T]], baseline: Callable[[T], Awaitable[U]]
) -> list[tuple[T, U]]:
    """``count`` pairs of rounds: ours, then the baseline, which is given what ours was, and so on."""
    pairs: list[tuple[T, U]] = []
    for _ in range(count):
        our = await ours()
        pairs.append((our, await baseline(our)))
    return pairs
