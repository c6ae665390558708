"""Both ends of sd_notify: what a part says is what the supervisor hears."""

from collections.abc import Iterator

import pytest

from operations.stack.readiness import NotifySocket
from repo import notify


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    one = NotifySocket()
    monkeypatch.setenv("NOTIFY_SOCKET", one.address)
    yield one
    one.close()


def test_a_part_waits_is_ready_and_starts_again(listening: NotifySocket) -> None:
    assert not listening.poll()
    notify.waiting("Kafka")
    assert (listening.poll(), listening.status) == (False, "Kafka")
    notify.ready("http://127.0.0.1:1")
    assert (listening.poll(), listening.status) == (True, "http://127.0.0.1:1")
    listening.reset()
    assert (listening.poll(), listening.status) == (False, "")


def test_what_an_earlier_process_still_said_does_not_count(listening: NotifySocket) -> None:
    notify.ready("the old one")
    listening.reset()
    assert not listening.poll()


def test_a_listener_that_is_gone_harms_nobody(listening: NotifySocket) -> None:
    listening.close()
    notify.ready("nobody hears")
