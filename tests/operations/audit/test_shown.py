"""The audit at 80 columns: what was done, to what, by whom and why are all there, and no id is broken."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from operations.audit.cli import COLUMNS, _row
from operations.audit.trail import Kept
from operations.tables import print_rows
from repo.clock import now_ms
from schemas.audit import AuditStage
from schemas.instants import to_iso
from tests.operations.audit.test_trail import ENTRY

JOB = "b4fb139e-003f-43a7-ac0f-566da246fcc1"
SESSION = "0b8f8d5e-8c1e-4c8e-9d3c-3a1f9a0c7e55"
WHY = "its user asked twice for it to be gone, and it hangs in the decoder since yesterday"
FULL = replace(
    ENTRY, action="deadletters.read-words", actor="operator@0123456789ab", via="cli", address="0123456789ab",
    target=JOB, reason=WHY, detail={"session": SESSION},
)  # fmt: skip


def shown(**console: object) -> list[str]:
    rows = [_row(Kept(1, replace(FULL, at=now_ms() - 40_000))), _row(Kept(2, replace(ENTRY, stage=AuditStage.DONE)))]
    out = io.StringIO()
    print_rows(Console(file=out, color_system=None, **console), COLUMNS, rows)  # type: ignore[arg-type]
    return out.getvalue().splitlines()


def test_at_80_columns_the_address_goes_first_and_the_reason_never() -> None:
    lines = shown(force_terminal=True, width=80)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert all(one in text for one in (FULL.action, JOB, FULL.actor, f"session={SESSION}", "users.block", "bob"))
    assert WHY in " ".join(text.split())


def test_the_least_important_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    shown(force_terminal=True, width=80)
    assert capsys.readouterr().err.startswith("Left out, for want of width: from.")


def test_the_head_of_the_time_fits_what_is_below() -> None:
    head, first, *_ = shown(force_terminal=True, width=80)
    assert (head.split()[0], first.split()[:2]) == ("when", ["40s", "ago"])
    head, _, second = shown(width=80)
    assert (head.split()[0], second.split()[0]) == ("when", to_iso(ENTRY.at))
