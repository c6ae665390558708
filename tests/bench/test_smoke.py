"""Every measurement runs, in its smallest size, against real servers and real processes."""

from collections.abc import AsyncIterator

import pytest

from bench.measurement import Measurement
from bench.registry import MEASUREMENTS
from bench.world import World

pytestmark = [pytest.mark.beside, pytest.mark.servers]


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One for all of them, to save the time that servers need to start."""
    async with World(tmp_path_factory.mktemp("bench") / "data", quick=True) as made:
        yield made


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda one: one.name)
async def test_it_measures(world: World, measurement: Measurement) -> None:
    figures = await measurement.run(world)
    assert len({figure.name for figure in figures}) == len(figures) > 0
    for figure in figures:
        assert all(value > 0 for value in (*figure.ours, *figure.baseline)), figure
