"""A command that the ledger could not decide, because a document is damaged: an operator hears what it is now."""

import asyncio
from contextlib import suppress

import pytest

from operations.audit.recording import Actor
from operations.desk import Desk, SetAsideError
from operations.users.acts import set_blocked
from repo.memory import MemoryDatabase, MemoryEventLog
from schemas.accounts import Account
from schemas.commands import AskUsage
from schemas.events import Outcome
from tests.gateway.world import FakeLedger
from tests.operations.recovery.rig import ACTOR


@pytest.mark.parametrize("actor", [ACTOR])
async def test_it_is_called_a_dead_letter_and_not_recorded(actor: Actor) -> None:
    log, database = MemoryEventLog(), MemoryDatabase()
    ledger = FakeLedger(log, database.jobs, damaged=True)
    deciding = asyncio.create_task(ledger.run())
    desk = Desk(log, database)
    try:
        with pytest.raises(SetAsideError) as caught:
            await set_blocked(desk, actor, "ann", blocked=True)
        said = str(caught.value)
        assert "dead letter" in said
        assert "`openv rebuild`" in said
        assert "`openv deadletters list`" in said
        # A question changes nothing: there is nothing that could be carried out later.
        answer = await desk.ask(AskUsage(command_id="u", user_id="ann"))
        assert answer is not None
        assert (answer.outcome, answer.remaining) == (Outcome.SET_ASIDE, None)
        ledger.damaged = False
        changed = await set_blocked(desk, actor, "ann", blocked=True)
        assert changed.decided
        stored = await database.jobs.account("ann")
        assert isinstance(stored, Account)
        assert stored.blocked
    finally:
        deciding.cancel()
        with suppress(asyncio.CancelledError):
            await deciding
