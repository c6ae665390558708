"""What runs beside the agents never ends while all is well: whatever way it ended, the process is started anew."""

import asyncio

import pytest

from streams import service


class Ended(Exception):
    """Instead of the process."""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons for which the process would have ended."""
    reasons: list[str] = []

    def end(reason: str) -> None:
        reasons.append(reason)
        raise Ended

    monkeypatch.setattr(service, "end_process", end)
    return reasons


async def returns() -> None:
    """Done at once."""


async def fails() -> None:
    raise ValueError("a secret prompt")


async def is_cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "reason"),
    [(returns, "Faust crashed"), (fails, "a background task failed: ValueError"), (is_cancelled, "was cancelled")],
)
async def test_a_task_that_ended_ends_the_process(said: list[str], work: object, reason: str) -> None:
    task = asyncio.create_task(work())  # type: ignore[operator]
    others = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.wait({task})
    with pytest.raises(Ended):
        service._complain_of_ended([others, task])
    others.cancel()
    assert len(said) == 1
    assert reason in said[0]
    assert "secret" not in said[0]


async def test_while_they_run_nothing_is_said(said: list[str]) -> None:
    others = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(0)
    service._complain_of_ended([others])
    others.cancel()
    assert said == []
