"""How findings are shown: lines for people, plain data for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from operations.core.findings import Finding, Level, worst
from operations.doctor.repair import Repaired

SHOWN = 20  # targets
_MARKS = {Level.OK: ("ok", "green"), Level.NOTE: ("note", "cyan"), Level.PROBLEM: ("PROBLEM", "bold red")}


def finding_plain(one: Finding) -> dict[str, Any]:
    """One finding; what is empty is left out."""
    plain = {
        "check": one.check,
        "level": str(one.level),
        "what": one.what,
        "why": one.why,
        "mend": one.mend,
        "repair": str(one.repair) if one.repair else "",
        "targets": list(one.targets[:SHOWN]),
    }
    return {name: value for name, value in plain.items() if value}


def plain(findings: Sequence[Finding], repaired: Sequence[Repaired]) -> dict[str, Any]:
    """All of it."""
    return {
        "level": str(worst(findings)),
        "findings": [finding_plain(one) for one in findings],
        "repaired": [{"check": one.check, "done": one.words} for one in repaired],
    }


def show(console: Console, findings: Sequence[Finding]) -> None:
    """A line for each, and for what is no matter of course two more."""
    for one in findings:
        mark, style = _MARKS[one.level]
        console.print(Text.assemble((f"{mark:<8}", style), f"{one.check:<12}", one.what), soft_wrap=True)
        for words in (one.why, f"→ {one.mend}" if one.mend else ""):
            if words:
                console.print(Text(f"{'':<20}{words}", style="dim"), soft_wrap=True)


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
