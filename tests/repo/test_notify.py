"""What a part says of itself: sent to a supervisor that listens, written down for one that looks."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from repo import notify


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "status"
    monkeypatch.setenv(notify.STATUS_FILE_VARIABLE, str(path))
    monkeypatch.setattr(notify, "_said", {})
    return path


def test_ready_stays_said_and_the_status_is_the_newest(file: Path) -> None:
    notify.waiting("waiting for Kafka")
    assert file.read_text() == "STATUS=waiting for Kafka\n"
    notify.ready("all roles running")
    notify.waiting("ledger waits for MongoDB")
    assert file.read_text().splitlines() == ["STATUS=ledger waits for MongoDB", "READY=1"]


def test_a_file_that_cannot_be_written_stops_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notify.STATUS_FILE_VARIABLE, str(file / "in" / "no" / "folder"))
    notify.ready("running")
    assert not file.exists()


def test_without_the_variable_nothing_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(notify.STATUS_FILE_VARIABLE)
    notify.ready("running")
    assert not file.exists()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{folder}/notify")
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        monkeypatch.setattr(notify, "_late", notify._Late())
        yield listener


def test_a_listener_hears_what_is_said_in_order(listener: socket.socket) -> None:
    notify.waiting("waiting for Kafka")
    notify.ready("running")
    assert [listener.recv(4096) for _ in range(2)] == [b"STATUS=waiting for Kafka", b"READY=1\nSTATUS=running"]


def test_a_listener_that_does_not_listen_holds_nobody_up_and_misses_only_what_is_old(listener: socket.socket) -> None:
    notify.waiting("0")
    notify.ready("1")
    for number in range(2, 1_000):
        notify.waiting(str(number))
    said: dict[str, str] = {}
    while said.get("STATUS") != "999":
        said.update(notify._lines(listener.recv(4096).decode()))
    assert said == {"READY": "1", "STATUS": "999"}
    notify.notify("STOPPING=1")
    assert listener.recv(4096) == b"STOPPING=1"


def test_a_listener_that_is_gone_stops_nobody(listener: socket.socket) -> None:
    listener.close()
    notify.ready("running")
