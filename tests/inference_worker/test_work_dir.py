"""Directories of living and of killed workers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference_worker.work_dir import WorkDir
from repo.environment import SettingsError

HOLD = """
import sys, time
from pathlib import Path
from inference_worker.work_dir import WorkDir
with WorkDir(Path(sys.argv[1])) as work:
    (work.attempt_dir() / "video.mp4").write_bytes(b"half a video")
    print(work.path, flush=True)
    time.sleep(600)
"""


def test_it_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with WorkDir(tmp_path / "deep" / "root") as work:
        made = work.attempt_dir()
        assert made.parent == work.path
        assert work.path.stat().st_mode & 0o777 == 0o700
        assert work.path.parent.stat().st_mode & 0o777 == 0o700
        (made / "file").write_bytes(b"x")
        assert work.attempt_dir() != made
    assert list((tmp_path / "deep" / "root").iterdir()) == []


def test_a_killed_workers_files_are_deleted_by_the_next_one_a_living_ones_are_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as other:
        assert other.stdout
        directory = Path(other.stdout.readline().strip())
        try:
            with WorkDir(tmp_path) as work:
                assert directory.exists()
                assert work.path != directory
        finally:
            other.send_signal(signal.SIGKILL)
            other.wait()
    assert list(directory.rglob("video.mp4"))
    with WorkDir(tmp_path) as work:
        assert not directory.exists()
        assert {one.name for one in tmp_path.iterdir()} == {work.path.name, f"{work.path.name}.lock"}


def test_a_root_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="OPENV_WORK_DIR"), WorkDir(tmp_path / "file"):
        pass


def test_somebody_elses_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(SettingsError, match="belongs to another user"), WorkDir(tmp_path):
        pass
