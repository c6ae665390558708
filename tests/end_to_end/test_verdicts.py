"""The verdicts themselves: each must be able to fail, or it would say nothing of a stack that it passes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from schemas.documents import job_document
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from tests.end_to_end.people import Epoch, Heard, Person, Watcher
from tests.end_to_end.verdicts import Logged, check_history, check_socket, histories, news, used_seconds

CHARGE = Charge(state=ChargeState.RESERVED, seconds=1.0, reserved_at=0)
QUEUED = Job(
    job_id="j",
    user_id="u",
    pool="p",
    state=State.QUEUED,
    version=1,
    request=GenerationRequest(prompt="a corgi", num_frames=24),
    request_hash="h",
    charge=CHARGE,
    created_at=0,
    updated_at=0,
    due_at=0,
    expires_at=1,
    execution_timeout_ms=1,
)
PROCESSING = replace(QUEUED, version=2, state=State.PROCESSING, worker_id="w")
COMPLETED = replace(
    PROCESSING, version=3, state=State.COMPLETED, charge=replace(CHARGE, state=ChargeState.CAPTURED), winning_attempt=1
)
CANCELLED = replace(COMPLETED, state=State.CANCELLED, charge=replace(CHARGE, state=ChargeState.REFUNDED))
DEAR = replace(COMPLETED, charge=replace(COMPLETED.charge, seconds=1.1))
DELETED = replace(COMPLETED, version=4, state=State.DELETED)


@pytest.mark.parametrize(
    "history",
    [
        [QUEUED, PROCESSING, COMPLETED],
        [QUEUED, PROCESSING, COMPLETED, DELETED],
        [QUEUED, PROCESSING, CANCELLED],
        [QUEUED, replace(DELETED, version=2, charge=CANCELLED.charge)],
    ],
)
def test_a_good_history_passes(history: list[Job]) -> None:
    check_history(history, history[-1])


@pytest.mark.parametrize(
    ("history", "document"),
    [
        ([QUEUED, PROCESSING], PROCESSING),  # never ended
        ([QUEUED, COMPLETED], COMPLETED),  # a version that nobody announced
        ([QUEUED, PROCESSING, COMPLETED, replace(CANCELLED, version=4)], replace(CANCELLED, version=4)),  # ended twice
        ([QUEUED, PROCESSING, COMPLETED], PROCESSING),  # the document says something else
        ([QUEUED, PROCESSING, COMPLETED], None),  # there is none
        ([QUEUED, PROCESSING, replace(COMPLETED, charge=CHARGE)], replace(COMPLETED, charge=CHARGE)),  # not charged
        ([QUEUED, PROCESSING, replace(CANCELLED, charge=CHARGE)], replace(CANCELLED, charge=CHARGE)),  # not given back
        ([QUEUED, PROCESSING, DEAR], DEAR),  # charged more than its length
    ],
)
def test_a_bad_history_fails(history: list[Job], document: Job | None) -> None:
    with pytest.raises(AssertionError):
        check_history(history, document)


def test_one_version_that_was_told_in_two_ways_fails() -> None:
    told = [Logged(0, QUEUED), Logged(1, QUEUED)]
    assert histories(told) == {"j": [QUEUED]}
    with pytest.raises(AssertionError):
        histories([*told, Logged(2, replace(QUEUED, due_at=5))])


def test_what_was_delivered_costs_its_length_deleted_or_not() -> None:
    stories = {"a": [QUEUED, COMPLETED], "b": [QUEUED, CANCELLED], "c": [QUEUED, COMPLETED, DELETED]}
    assert used_seconds(stories) == 2.0


LOG = [Logged(0, QUEUED), Logged(3, PROCESSING), Logged(4, PROCESSING), Logged(7, COMPLETED)]


def plain(event: Logged) -> tuple[int, dict[str, Any]]:
    return event.offset, orjson.loads(orjson.dumps(job_document(event.job)))


def watcher_of(*epochs: tuple[int, dict[str, int], Heard]) -> Watcher:
    watcher = Watcher(Person("u", "k", []), 0)
    watcher.epochs = [Epoch(begin, versions, {}, heard) for begin, versions, heard in epochs]
    return watcher


def test_a_socket_that_heard_all_once_and_in_order_passes() -> None:
    heard = [plain(event) for event in news(LOG)]
    assert [offset for offset, _ in heard] == [0, 3, 7]
    check_socket(watcher_of((-1, {}, heard)), LOG)
    check_socket(watcher_of((-1, {}, heard[:1]), (0, {"j": 1}, heard[1:])), LOG)
    check_socket(watcher_of((0, {"j": 2}, heard[2:])), LOG)  # the snapshot was read after its position


@pytest.mark.parametrize(
    "spoil",
    [
        lambda heard: heard[:-1],
        lambda heard: heard[1:],
        lambda heard: [heard[0], heard[2]],
        lambda heard: [heard[1], heard[0], heard[2]],
        lambda heard: [heard[0], *heard],
        lambda heard: [*heard[:2], (7, {**heard[2][1], "state": "failed"})],
        lambda heard: [*heard[:2], (8, heard[2][1])],
    ],
)
def test_a_gap_a_repeat_a_wrong_order_or_wrong_word_fails(spoil: Callable[[Heard], Heard]) -> None:
    heard = [plain(event) for event in news(LOG)]
    with pytest.raises(AssertionError):
        check_socket(watcher_of((-1, {}, spoil(heard))), LOG)
