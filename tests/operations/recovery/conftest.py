"""A room for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from operations.recovery import standing
from repo.settings import ServerSettings
from tests.operations.recovery.rig import Room, a_room


@pytest.fixture
async def room(settings: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    monkeypatch.setattr(standing, "NOTICED_S", 0.0)  # nobody else is there to notice
    async with a_room(settings, tmp_path) as room:
        yield room
