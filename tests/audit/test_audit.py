"""Ten trials of the audit, and the audit of processes that skip records: it must say so."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from operations.stack.servers import EmbeddedServers
from repo.topic_admin import TopicAdmin
from schemas.topics import COMMANDS, DISPATCH, EVENTS
from tests.audit.audit import come_to_rest, settle, trials
from tests.audit.stage import staged
from tests.servers import settings_of
from tests.streams.streams_process import StreamsProcess, eventually

pytestmark = [pytest.mark.beside, pytest.mark.servers, pytest.mark.timeout(900)]

TRIALS = 10
SEED = 30  # draws nine kinds of disturbances


@pytest.fixture(scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """Servers of the audit's own: it judges every record of the topics."""
    async with EmbeddedServers(tmp_path_factory.mktemp("audit") / "servers") as told:
        async with TopicAdmin(settings_of(told)) as admin:
            await admin.apply()
        yield told


async def test_ten_restarts_and_rebalances_skip_nothing_and_leave_nothing_stuck(
    environment: dict[str, str], tmp_path: Path
) -> None:
    chance, said = Random(SEED), list[str]()
    async with staged(environment, tmp_path, chance) as stage:
        done = await trials(stage, TRIALS, chance, said.append)
        faults = [fault for one in done for fault in one.faults] or await come_to_rest(stage)
        assert not faults, "\n".join([*said, *faults])
        assert len(done) == TRIALS
        assert all(one.commands for one in done), said
        assert stage.probes.sent > TRIALS


class Sabotaged(StreamsProcess):
    """Streams that skip one in twenty records of every role."""

    COMMAND = (sys.executable, "-m", "tests.audit.sabotaged")


async def test_the_audit_finds_the_records_that_sabotaged_processes_skip(
    environment: dict[str, str], tmp_path: Path
) -> None:
    found: list[str] = []
    async with staged(environment, tmp_path, Random(SEED), made=Sabotaged) as stage:

        async def all_found() -> bool:
            found.extend(await settle(stage, within_s=2.0))
            skipped = [fault.split()[1] for fault in found if fault.startswith("skipped: ")]
            return {COMMANDS.name, DISPATCH.name, EVENTS.name} <= set(skipped)

        await eventually(all_found, 120, what="a skipped record of each topic is named")
    assert not any("ended by itself" in fault or "own task" in fault for fault in found), found
