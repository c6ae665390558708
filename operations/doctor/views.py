"""How findings are shown: lines for people, plain data for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from operations.core.columns import GAP
from operations.core.findings import Finding, Level, digest, summary, worst
from operations.doctor.repair import Repaired
from operations.tables import print_beside

SHOWN = 20  # targets
_MARKS = {
    Level.OK: ("ok", "green"),
    Level.NOTE: ("note", "cyan"),
    Level.FOLLOWS: ("follows", "yellow"),
    Level.PROBLEM: ("PROBLEM", "bold red"),
}
_MARKED = max(len(mark) for mark, _ in _MARKS.values()) + 1


def finding_plain(one: Finding) -> dict[str, Any]:
    """One finding; what is empty is left out."""
    plain = {
        "check": one.check,
        "level": str(one.level),
        "what": one.what,
        "why": one.why,
        "mend": one.mend,
        "because": one.because,
        "repair": str(one.repair) if one.repair else "",
        "targets": list(one.targets[:SHOWN]),
    }
    return {name: value for name, value in plain.items() if value}


def plain(findings: Sequence[Finding], repaired: Sequence[Repaired]) -> dict[str, Any]:
    """All of it. ``digest``: of what can be repaired, where there is anything."""
    seen = digest(findings)
    return {
        "level": str(worst(findings)),
        "summary": summary(findings),
        **({"digest": seen} if seen else {}),
        "findings": [finding_plain(one) for one in findings],
        "repaired": [{"check": one.check, "done": one.words} for one in repaired],
    }


def show(console: Console, findings: Sequence[Finding]) -> None:
    """A line for each, and for what is no matter of course two more; at the end how many of each kind."""
    width = max((len(one.check) for one in findings), default=0) + GAP
    for one in findings:
        mark, style = _MARKS[one.level]
        lead = Text.assemble((f"{mark:<{_MARKED}}", style), f"{one.check:<{width}}")
        print_beside(console, lead, one.what)
        because = f"from: {one.because}" if one.because else ""
        for words in (one.why, because, f"→ {one.mend}" if one.mend else ""):
            if words:
                print_beside(console, Text(" " * (_MARKED + width)), words, "dim")
    console.print(f"{summary(findings)}.", highlight=False)


def show_listing(console: Console, findings: Sequence[Finding]) -> None:
    """What a repair would touch."""
    for one in findings:
        if one.repair is not None:
            console.print(f"To repair ({one.repair}): {one.what}", soft_wrap=True, highlight=False, markup=False)
            for target in one.targets[:SHOWN]:
                console.print(f"  {target}", soft_wrap=True, highlight=False, markup=False)
            if len(one.targets) > SHOWN:
                console.print(f"  and {len(one.targets) - SHOWN} more", highlight=False)


def show_repaired(console: Console, repaired: Sequence[Repaired]) -> None:
    """What was done."""
    for one in repaired:
        console.print(f"Repaired {one.check}: {one.words}", soft_wrap=True, highlight=False, markup=False)
