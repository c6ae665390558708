"""Who works, out of heartbeats: the newest word of the newest session, since when, and who fell silent."""

from pathlib import Path
from typing import Any

import pytest

from operations.core.roster import Heard, roster
from operations.workers import commands
from schemas.dispatch import WorkerBeat, WorkerGone, WorkerKind, WorkerState

NOW = 1_000_000
S = WorkerState


def beat(sequence: int, state: S = S.READY, session: str = "s-1", **more: Any) -> WorkerBeat:
    known: dict[str, Any] = {"pool": "p", "worker_id": "w", "session": session, "engine": "tiny"} | more
    return WorkerBeat(**known, sequence=sequence, state=state)


def only(*words: tuple[int, WorkerBeat | WorkerGone], now: int = NOW) -> Heard:
    (one,) = roster(words, now)
    return one


def test_the_newest_word_counts_and_since_when_it_is_so() -> None:
    job: dict[str, Any] = {"job_id": "j", "attempt": 3}
    heard = only(
        (NOW - 9_000, beat(1)),
        (NOW - 8_000, beat(2, S.BUSY, **job)),
        (NOW - 5_000, beat(3, S.BUSY, **job)),
        (NOW - 4_000, beat(1)),
    )
    assert (heard.state, heard.job_id, heard.attempt) == (S.BUSY, "j", 3)
    assert (heard.since, heard.heard_at, heard.silent, heard.gone) == (NOW - 8_000, NOW - 5_000, False, False)


def test_silence_is_as_long_as_a_lease_of_its_kind() -> None:
    assert only((NOW - 19_999, beat(1))).silent is False
    assert only((NOW - 20_000, beat(1))).silent is True
    slot: dict[str, Any] = {"worker_id": "sdk:e:pod:0123456789ab:1", "kind": WorkerKind.SDK}
    assert only((NOW - 44_999, beat(1, **slot))).silent is False
    assert only((NOW - 45_000, beat(1, **slot))).silent is True


def test_a_farewell_ends_its_own_session_alone() -> None:
    gone = WorkerGone(pool="p", worker_id="w", session="s-1", sequence=5)
    assert only((1, beat(1)), (2, gone)).gone
    assert not only((1, beat(1)), (2, gone), (3, beat(1, session="s-2")), now=4).gone
    assert not only((1, beat(1, session="s-2")), (2, gone), now=3).gone
    assert roster([(2, gone)], 3) == ()


def test_pings_of_a_slot_count_whatever_their_number() -> None:
    slot: dict[str, Any] = {"worker_id": "sdk:e:pod:0123456789ab:1", "kind": WorkerKind.SDK}
    heard = only((NOW - 9, beat(500, **slot)), (NOW - 5, beat(3, S.BUSY, job_id="j", **slot)))
    assert (heard.state, heard.job_id) == (S.BUSY, "j")


def test_workers_are_by_pool_and_id() -> None:
    words = [(NOW, beat(1, pool=pool, worker_id=name)) for pool, name in (("b", "1"), ("a", "2"), ("a", "1"))]
    assert [(one.pool, one.worker_id) for one in roster(words, NOW)] == [("a", "1"), ("a", "2"), ("b", "1")]


def test_only_a_worker_that_the_local_stack_supervises_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stack: dict[str, Any] | None = {"parts": {"gateway": {}, "worker-1": {}}}
    monkeypatch.setattr(commands, "running_stack", lambda _: stack)
    assert commands._is_of_the_stack(Path("nowhere"), "host-0badcafe-worker-1")
    assert not commands._is_of_the_stack(Path("nowhere"), "host-0badcafe-worker-2")
    assert not commands._is_of_the_stack(Path("nowhere"), "gpu-3")
    stack = None
    assert not commands._is_of_the_stack(Path("nowhere"), "host-0badcafe-worker-1")
