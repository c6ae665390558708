"""What a part says of itself, written down for supervisors that look instead of listening."""

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
