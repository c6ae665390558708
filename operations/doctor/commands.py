"""``openv doctor``: look, list, and where that was asked for and agreed to, repair and look again."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from operations.audit.recording import at_the_terminal
from operations.core.counting import several
from operations.core.findings import exit_code
from operations.doctor import views
from operations.doctor.examine import examine
from operations.doctor.repair import Repaired, repair
from operations.doctor.surroundings import MOST, surroundings

Agreed = Callable[[str], bool]


async def doctor(
    data_dir: Path,
    console: Console,
    *,
    only: Sequence[str] = (),
    repairing: bool = False,
    agreed: Agreed = lambda _: True,
    older_than_ms: int,
    most: int = MOST,
    as_json: bool = False,
) -> int:
    """The exit code: 0 where all is well, 3 where there are problems (left)."""
    async with surroundings(data_dir, older_than_ms=older_than_ms, most=most) as around:
        findings = await examine(around, only)
        repaired: list[Repaired] = []
        to_repair = [one for one in findings if one.repair is not None]
        if not as_json:
            views.show(console, findings)
        if repairing and to_repair:
            views.show_listing(Console(stderr=True) if as_json else console, to_repair)
            if agreed(f"Repair {several(len(to_repair), 'finding')}?"):
                repaired = await repair(around, to_repair, at_the_terminal())
                findings = await examine(around, only)
                if not as_json:
                    views.show_repaired(console, repaired)
                    views.show(console, findings)
    if as_json:
        sys.stdout.write(json.dumps(views.plain(findings, repaired), indent=2, ensure_ascii=False) + "\n")
    return exit_code(findings)
