"""Starts what runs in the background of all tests, if a test that waits for it is among them."""

import pytest

from tests.outages.background import Background

FIVE_MINUTES = pytest.StashKey[Background]()


def _waits(item: pytest.Item) -> bool:
    return "five_minutes" in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever waits for the background comes last."""
    items.sort(key=_waits)


def pytest_runtestloop(session: pytest.Session) -> None:
    """Once it is known which tests run."""
    if not session.config.option.collectonly and any(map(_waits, session.items)):
        session.config.stash[FIVE_MINUTES] = Background("tests.outages.mongo_five_minutes")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """However the tests ended."""
    if FIVE_MINUTES in session.config.stash:
        session.config.stash[FIVE_MINUTES].stop()


@pytest.fixture
def five_minutes(pytestconfig: pytest.Config) -> Background:
    """The process in which MongoDB is away for five minutes."""
    return pytestconfig.stash[FIVE_MINUTES]
