"""The life-cycle table: total, connected, no dead ends but one, drawn as it is."""

import pytest

from schemas.lifecycle import ACTIVE, OPENV_STATUS, TERMINAL, TRANSITIONS, Fact, State, advance, as_mermaid

S, F = State, Fact


def test_the_table_has_every_state_and_uses_every_fact() -> None:
    assert set(TRANSITIONS) == set(State) == set(OPENV_STATUS)
    assert {fact for row in TRANSITIONS.values() for fact in row} == set(Fact)
    assert set(State) == ACTIVE | TERMINAL
    assert not ACTIVE & TERMINAL


def test_every_state_is_reached_from_the_two_beginnings() -> None:
    reached, edge = set(), {S.QUEUED, S.REJECTED}
    while edge:
        reached |= edge
        edge = {after for state in edge for after in TRANSITIONS[state].values()} - reached
    assert reached == set(State)


def test_an_ended_job_moves_only_by_a_manual_retry_or_a_delete() -> None:
    for state in TERMINAL:
        assert set(TRANSITIONS[state]) <= {F.RETRIED, F.DELETED}
    assert not TRANSITIONS[S.DELETED]
    assert all(state is S.DELETED or advance(state, F.DELETED) is S.DELETED for state in State)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("fact", Fact)
def test_a_fact_moves_or_changes_nothing(state: State, fact: Fact) -> None:
    after = advance(state, fact)
    assert after is None or after in State
    assert (after in ACTIVE) <= (state in ACTIVE or fact is F.RETRIED)


def test_openvs_clients_know_four_statuses() -> None:
    assert {OPENV_STATUS[s] for s in State if s is not S.DELETED} == {"queued", "processing", "completed", "failed"}


def test_the_diagram_has_every_edge_once() -> None:
    lines = as_mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    edges = [f"    {a} --> {b}: {fact}" for a, row in TRANSITIONS.items() for fact, b in row.items()]
    assert len(lines) == len(set(lines)) == len(edges) + 4
    assert set(edges) < set(lines)
