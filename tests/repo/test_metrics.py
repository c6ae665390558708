"""The parts that metrics are made of: read from another thread, bounded in number, and one registry each."""

import asyncio
import threading
from collections import deque

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from repo.metrics import OTHER, Beat, Known, Read, new_registry, one, show_beat, steady


def test_what_another_thread_changes_is_read_whole() -> None:
    numbers: dict[int, int] = {}
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            numbers.update({number: number for number in range(200)})
            numbers.clear()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(300):
            for labels, value in steady(lambda: [((str(k),), v) for k, v in list(numbers.items())]):
                assert labels == (str(value),)
    finally:
        done.set()
        changing.join()


def test_a_look_that_never_holds_shows_nothing_and_stops_nobody() -> None:
    empty: deque[int] = deque()
    registry = CollectorRegistry()
    read = Read(registry)
    read.gauge("openv_gone", "Gone.", lambda: one(empty[0]))
    read.gauge("openv_there", "There.", lambda: one(3))
    text = generate_latest(registry).decode()
    assert "openv_gone " not in text.replace("# HELP openv_gone ", "").replace("# TYPE openv_gone ", "")
    assert "openv_there 3.0" in text


def test_a_counter_ends_with_total() -> None:
    registry = CollectorRegistry()
    Read(registry).counter("openv_seen_total", "Seen.", lambda: [(("a",), 2)], ("kind",))
    assert 'openv_seen_total{kind="a"} 2.0' in generate_latest(registry).decode()


def test_a_label_that_nobody_bounds_is_bounded() -> None:
    known = Known(2)
    assert [known(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


async def test_the_beat_is_young_while_the_loop_runs() -> None:
    clock = [100.0]
    beat = Beat(lambda: clock[0])
    clock[0] = 130.0
    assert beat.age() == 30.0
    beating = asyncio.create_task(beat.run())
    await asyncio.sleep(0)
    assert beat.age() == 0.0
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating


def test_registries_share_nothing() -> None:
    first, second = new_registry("gateway"), new_registry("gateway")
    show_beat(first, lambda: 1.0)
    assert "openv_loop_beat_age_seconds 1.0" in generate_latest(first).decode()
    assert "openv_loop_beat_age_seconds" not in generate_latest(second).decode()
    assert 'openv_build_info{part="gateway",version="' in generate_latest(second).decode()
