"""When the process has to end, and when waiting is all right."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.settings import Role
from streams.vitals import PartitionVitals, Vitals, new_vitals
from streams.watchdog import STUCK_EXIT_CODE, Limits, Watchdog, verdict, wake
from tests.streams.rig import Clock

LIMITS = Limits(stall_s=60.0)
REPOSITORY = Path(__file__).parents[2]


def well() -> tuple[Vitals, PartitionVitals]:
    """A process at 1000.0 s that owns one partition and has nothing to do."""
    vitals = new_vitals((Role.LEDGER,), Clock())
    role = vitals.roles[Role.LEDGER]
    role.unassigned_since = None
    partition = PartitionVitals(moved_at=1000.0, committed_at=1000.0, end=10, applied=9, acked=9, committed=10)
    role.partitions = {3: partition}
    return vitals, partition


def blocked_loop(vitals: Vitals, _: PartitionVitals) -> None:
    vitals.loop_beat = 900.0


def never_assigned(vitals: Vitals, _: PartitionVitals) -> None:
    vitals.roles[Role.LEDGER].unassigned_since = 900.0


def thrown_out(vitals: Vitals, _: PartitionVitals) -> None:
    vitals.roles[Role.LEDGER].outside_since = 900.0


def not_moving(_: Vitals, partition: PartitionVitals) -> None:
    partition.end, partition.moved_at = 11, 900.0


def not_committing(_: Vitals, partition: PartitionVitals) -> None:
    partition.committed, partition.committed_at = 7, 900.0


def left_behind(_: Vitals, partition: PartitionVitals) -> None:
    partition.read_back = 3


def test_all_is_well() -> None:
    vitals, _ = well()
    assert verdict(vitals, 1000.0, LIMITS) is None


@pytest.mark.parametrize(
    ("ail", "says"),
    [
        (blocked_loop, "the event loop has been blocked for 100 s"),
        (never_assigned, "ledger: no partitions assigned for 100 s"),
        (thrown_out, "ledger: outside its consumer group for 100 s"),
        (not_moving, "ledger: partition 3: 1 records wait, and none was applied for 100 s"),
        (not_committing, "ledger: partition 3: no commit for 100 s after 3 acknowledged records"),
        (left_behind, "ledger: partition 3: Faust left records undelivered 3 times in a row"),
    ],
)
def test_each_ailment_ends_the_process(ail: Callable[[Vitals, PartitionVitals], None], says: str) -> None:
    vitals, partition = well()
    ail(vitals, partition)
    assert verdict(vitals, 1000.0, LIMITS) == says
    assert verdict(vitals, 1000.0, Limits(stall_s=200.0, read_back=4)) is None


@pytest.mark.parametrize("ail", [never_assigned, thrown_out, not_moving, not_committing, left_behind])
def test_waiting_for_a_server_is_no_ailment(ail: Callable[[Vitals, PartitionVitals], None]) -> None:
    vitals, partition = well()
    ail(vitals, partition)
    vitals.roles[Role.LEDGER].waiting_for = "mongodb"
    assert verdict(vitals, 1000.0, LIMITS) is None


def test_a_blocked_loop_is_one_even_then_but_not_while_stopping() -> None:
    vitals, partition = well()
    blocked_loop(vitals, partition)
    vitals.roles[Role.LEDGER].waiting_for = "mongodb"
    assert verdict(vitals, 1000.0, LIMITS) is not None
    vitals.stopping = True
    assert verdict(vitals, 1000.0, LIMITS) is None


def test_an_idle_partition_is_not_stuck_however_long() -> None:
    vitals, partition = well()
    partition.moved_at = partition.committed_at = 0.0
    assert verdict(vitals, 1000.0, LIMITS) is None


@pytest.mark.parametrize("ail", [blocked_loop, never_assigned, thrown_out, not_moving, not_committing])
def test_a_process_that_was_paused_is_not_stuck(ail: Callable[[Vitals, PartitionVitals], None]) -> None:
    vitals, partition = well()
    ail(vitals, partition)
    wake(vitals, 1000.0)
    assert verdict(vitals, 1000.0, LIMITS) is None
    assert verdict(vitals, 1000.0 + 61, LIMITS) is not None


def test_the_process_ends_at_once_and_shows_where_every_thread_stood() -> None:
    program = """
import time
from repo import logs
logs.set_up("streams", {"OPENV_LOG_FORMAT": "json"})
from streams.settings import Role
from streams.vitals import new_vitals
from streams.watchdog import Limits, Watchdog
Watchdog(new_vitals((Role.LEDGER,)), Limits(stall_s=0.01)).start()
def blocked(): time.sleep(60)
blocked()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == STUCK_EXIT_CODE == 70
    line = next(line for line in done.stderr.splitlines() if "the event loop has been blocked" in line)
    threads = json.loads(line)["threads"]
    stands = next(calls for name, calls in threads.items() if name.startswith("MainThread "))
    assert stands[0].endswith(":9 blocked")
    assert [calls for name, calls in threads.items() if name.startswith("watchdog ")]
    assert all(line.startswith("{") for line in done.stderr.splitlines()), done.stderr


def test_it_ends_where_the_line_can_not_be_written() -> None:
    program = """
import logging, threading
from repo import logs
from streams import watchdog
watchdog._SAID_WITHIN_S = 0.2
logs.set_up("streams", {"OPENV_LOG_FORMAT": "json"})
held = threading.Event()
def hold():
    with logging.getLogger().handlers[0].lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
watchdog.end_process("it is stuck")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode
    assert "in hold" in done.stderr


def test_the_thread_tells_once() -> None:
    vitals, partition = well()
    blocked_loop(vitals, partition)
    told, heard = threading.Event(), []

    def end(reason: str) -> None:
        heard.append(reason)
        told.set()

    watchdog = Watchdog(vitals, LIMITS, end)
    watchdog.start()
    assert told.wait(30)
    watchdog.stop()
    assert heard == ["the event loop has been blocked for 100 s"]
