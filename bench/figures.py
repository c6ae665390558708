"""What was measured, and the little arithmetic on it. Nothing here measures."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True)
class Aim:
    """Where a figure should stand: the median ``of`` the ratios, or of our own values, ``at most`` or ``at least``."""

    of: Literal["ratio", "value"]
    side: Literal["at most", "at least"]
    bound: float


@dataclass(frozen=True)
class Figure:
    """One figure, a value a round. ``baseline``: the same of the same rounds, empty where there is nothing to compare.

    Ratios are ours divided by the baseline's: of times, below 1 is faster than the baseline; of rates, above 1 is.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    baseline: tuple[float, ...] = ()
    aim: Aim | None = None

    def __post_init__(self) -> None:
        if not self.ours or len(self.baseline) not in {0, len(self.ours)}:
            raise ValueError(f"{self.name}: {len(self.ours)} rounds of ours, {len(self.baseline)} of the baseline")

    @property
    def ratios(self) -> tuple[float, ...]:
        """Round by round, so that what slowed a whole round down does not show."""
        return tuple(our / base for our, base in zip(self.ours, self.baseline, strict=False))

    @property
    def stands(self) -> str:
        """``met``, ``not met``, or nothing without an aim."""
        if self.aim is None:
            return ""
        value = median(self.ratios if self.aim.of == "ratio" else self.ours)
        met = value <= self.aim.bound if self.aim.side == "at most" else value >= self.aim.bound
        return "met" if met else "not met"

    def to_json(self) -> dict[str, Any]:
        """Plain data, at four significant digits."""
        plain = asdict(self)
        return plain | {name: [significant(value) for value in plain[name]] for name in ("ours", "baseline")}


def from_json(plain: dict[str, Any]) -> Figure:
    """The figure that ``to_json`` wrote."""
    aim = Aim(**plain["aim"]) if plain["aim"] else None
    return Figure(plain["name"], plain["unit"], tuple(plain["ours"]), tuple(plain["baseline"]), aim)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    if not values or not 0 < share <= 1:
        raise ValueError("a share above 0 and at most 1, of at least one value")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def significant(value: float) -> float:
    """The value at four significant digits."""
    return float(f"{value:.4g}")
