"""What is remembered of where a user stands, when the account changes under the question."""

import asyncio
from dataclasses import replace
from typing import Any, cast

from gateway.core.window import Cursor, Entry, Window, check_of
from gateway.decisions import Decisions
from gateway.live.feed import Feed
from gateway.standings import Standings
from schemas.commands import AskUsage
from schemas.events import CommandAnswered, Outcome
from tests.gateway.world import REMAINING, until


class Ledger:
    """Answers what stands when the question arrives, and keeps the answer back until the gate is open."""

    def __init__(self) -> None:
        self.asked = 0
        self.used = 1.0
        self.gate = asyncio.Event()

    async def ask(self, command: AskUsage, **_: Any) -> CommandAnswered:
        self.asked += 1
        left = replace(REMAINING, used_seconds=self.used)
        await self.gate.wait()
        return CommandAnswered(
            command_id=command.command_id, user_id=command.user_id, outcome=Outcome.UNCHANGED, remaining=left
        )


class Events:
    """A feed that has read one event."""

    def __init__(self) -> None:
        self.window = Window(1_000_000, 60_000)
        self.window.append(Entry(Cursor(0, 0, check_of("e")), "ada", 1_000, None), 1_000)

    def partition_of(self, _: str) -> int:
        return 0


async def test_an_answer_from_before_a_change_of_the_account_is_not_remembered() -> None:
    ledger = Ledger()
    standings = Standings(cast("Decisions", ledger), cast("Feed", Events()), lambda: 1_000)

    async def used() -> float | None:
        left = await standings.of("ada")
        return left.used_seconds if left else None

    early = asyncio.create_task(used())
    await until(lambda: ledger.asked)
    standings.forget("ada")
    ledger.used = 2.0
    late = asyncio.create_task(used())
    await until(lambda: ledger.asked == 2)
    ledger.gate.set()
    assert (await early, await late) == (1.0, 2.0), "the first asked before"
    assert await used() == 2.0
    assert ledger.asked == 2, "the later answer is the one that is remembered"
