"""The worker's table: total where it must be, nothing unreachable, drawn as it is."""

import pytest

from inference_worker.core.worker import TABLE, Fact, as_mermaid, moved
from schemas.dispatch import WorkerState

W, F = WorkerState, Fact

CANNOT_HAPPEN = {
    W.STARTING: {F.TAKEN, F.OVER, F.OVER_CHILDLESS, F.OVER_WORN_OUT},
    W.READY: {F.LOADED, F.RESUMED, F.OVER, F.OVER_CHILDLESS, F.OVER_WORN_OUT},
    W.BUSY: {F.TAKEN, F.RESUMED},
    W.DRAINING: {F.TAKEN, F.RESUMED, F.OVER_CHILDLESS, F.OVER_WORN_OUT},
    W.DEFUNCT: {F.TAKEN, F.RESUMED, F.OVER, F.OVER_CHILDLESS, F.OVER_WORN_OUT},
}


@pytest.mark.parametrize("state", WorkerState)
@pytest.mark.parametrize("fact", Fact)
def test_every_state_meets_every_fact_that_can_happen_there(state: WorkerState, fact: Fact) -> None:
    if fact in CANNOT_HAPPEN[state]:
        with pytest.raises(AssertionError, match=f"{state} cannot meet"):
            moved(state, fact)
    else:
        assert isinstance(moved(state, fact), WorkerState)


def test_every_state_can_be_reached_and_draining_has_no_way_back() -> None:
    reached, new = set(), {W.STARTING}
    while new:
        reached |= new
        new = {after for state in new for after in TABLE[state].values()} - reached
    assert reached == set(WorkerState)
    assert set(TABLE[W.DRAINING].values()) == {W.DRAINING}
    assert all(row[F.DRAIN] is W.DRAINING for row in TABLE.values())


def test_only_a_ready_worker_takes_an_attempt() -> None:
    assert [state for state, row in TABLE.items() if F.TAKEN in row] == [W.READY]


def test_the_diagram_has_an_edge_for_every_move() -> None:
    drawn = as_mermaid()
    assert drawn.startswith("stateDiagram-v2\n    [*] --> starting")
    assert "ready --> busy: an attempt was taken" in drawn
    assert drawn.count("-->") == 2 + sum(a is not b for a, row in TABLE.items() for b in row.values())
