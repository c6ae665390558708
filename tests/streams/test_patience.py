"""Waiting for servers, and what everyone is told meanwhile."""

import pytest

from repo.ports import Unavailable
from streams import patience
from streams.board import Board
from streams.patience import Patience
from streams.settings import Role
from streams.vitals import new_vitals
from tests.streams.rig import Clock


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.0)


class Said:
    """A board, and what it said."""

    def __init__(self, *roles: Role) -> None:
        self.clock = Clock()
        self.vitals = new_vitals(roles, self.clock)
        self.lines: list[str] = []
        self.board = Board(
            self.vitals, ready=lambda text: self.lines.append(f"READY {text}"), waiting=self.lines.append
        )


async def test_ready_is_said_once_when_every_role_has_its_partitions() -> None:
    said = Said(Role.LEDGER, Role.JANITOR)
    said.board.starting("waiting for kafka: away")
    said.board.assigned(Role.LEDGER, [0, 1])
    said.board.assigned(Role.JANITOR, [])  # another process has them all
    said.board.revoked(Role.JANITOR)
    said.board.assigned(Role.JANITOR, [4])

    assert said.lines == [
        "waiting for kafka: away",
        "waiting for Kafka to assign partitions to janitor",
        "READY ledger, janitor running",
        "ledger, janitor running",
    ]


async def test_it_tries_again_until_it_is_done_and_excuses_the_time() -> None:
    said = Said(Role.LEDGER)
    said.board.assigned(Role.LEDGER, [0])
    tries = 0

    async def attempt() -> str:
        nonlocal tries
        tries += 1
        said.clock.now += 100.0
        if tries < 4:
            assert tries == 1 or said.vitals.roles[Role.LEDGER].waiting_for == "s3"
            raise Unavailable("s3", "away")
        return "done"

    assert await Patience(Role.LEDGER, said.board).until_done(attempt) == "done"
    role = said.vitals.roles[Role.LEDGER]
    assert role.waiting_for is None
    assert role.partitions[0].moved_at == role.partitions[0].committed_at == said.clock.now
    assert said.lines == ["READY ledger running", "ledger waits for s3", "ledger running"]


async def test_other_failures_pass() -> None:
    async def attempt() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await Patience(Role.LEDGER, Said(Role.LEDGER).board).until_done(attempt)
