"""``docs/benchmarks.md`` from ``bench/results.json``: what was measured, where it stands, how it was taken."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, from_json, significant
from bench.measurement import Measurement
from repo.clock import now_ms

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"

_HEAD = """\
# Benchmarks

Written by `make bench`, which runs everything below on servers of its own; `bench/results.json` has every round.

A **ratio** is ours divided by the baseline's in the same round; the two run by turns, because a machine's mood changes
while it measures. Figures are medians over the rounds, with the lowest and the highest round in brackets. Compare
within a row: times and rates by themselves say as much about the machine as about OpenV.
"""


def section(figures: Iterable[Figure], machine: str) -> dict[str, Any]:
    """A measurement's results as they are kept."""
    taken = datetime.fromtimestamp(now_ms() / 1000, UTC)
    return {"taken": f"{taken:%Y-%m-%d}", "machine": machine, "figures": [figure.to_json() for figure in figures]}


def read(path: Path = RESULTS) -> dict[str, Any]:
    """The results of earlier runs; nothing where there are none."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write(
    results: Mapping[str, Any], measurements: Sequence[Measurement], at: Path = RESULTS, page: Path = PAGE
) -> None:
    """Results and page; sections of measurements that are no more are dropped."""
    kept = {one.name: results[one.name] for one in measurements if one.name in results}
    at.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    page.write_text(as_page(kept, measurements))


def as_page(results: Mapping[str, Any], measurements: Sequence[Measurement]) -> str:
    """The whole page as Markdown."""
    known = [one for one in measurements if one.name in results]
    parts = [_HEAD, _standing(results, known)]
    for one in known:
        result = results[one.name]
        figures = [from_json(plain) for plain in result["figures"]]
        rounds = max(len(figure.ours) for figure in figures)
        taken = f"Taken {result['taken']}, {rounds} rounds, on {result['machine']}."
        parts.append(f"## {one.title}\n\n{one.how}\n\n{table(figures)}\n\n{taken}\n")
    return "\n".join(parts)


def _standing(results: Mapping[str, Any], known: Sequence[Measurement]) -> str:
    lines = ["## Where it stands", "", "| | aim | is | stands |", "|---|---|---|---|"]
    for one in known:
        for figure in map(from_json, results[one.name]["figures"]):
            if figure.aim is not None:
                found = _ratio(figure) if figure.aim.of == "ratio" else _values(figure.ours, figure.unit)
                lines.append(f"| {one.title}: {figure.name} | {_aim(figure)} | {found} | **{figure.stands}** |")
    return "\n".join(lines) + "\n"


def table(figures: Iterable[Figure]) -> str:
    """Figures as a Markdown table."""
    lines = ["| | ours | baseline | ratio | aim | stands |", "|---|---|---|---|---|---|"]
    for one in figures:
        base = _values(one.baseline, one.unit) if one.baseline else "–"
        cells = (one.name, _values(one.ours, one.unit), base, _ratio(one), _aim(one), one.stands)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ratio(figure: Figure) -> str:
    return _values(figure.ratios, "×") if figure.baseline else "–"


def _values(values: Sequence[float], unit: str) -> str:
    low, middle, high = (_number(value) for value in (min(values), median(values), max(values)))
    return f"{middle} {unit} ({low} – {high})" if len(values) > 1 else f"{middle} {unit}"


def _aim(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    unit = "×" if figure.aim.of == "ratio" else figure.unit
    return f"{figure.aim.side} {_number(figure.aim.bound)} {unit}"


def _number(value: float) -> str:
    return f"{significant(value):,.0f}" if value >= 100 else f"{value:.3g}"
