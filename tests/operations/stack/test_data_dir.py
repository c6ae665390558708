"""The data directory: modes, the lock, small files, and sentences instead of tracebacks."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from operations.stack.data_dir import DataDir
from operations.stack.errors import StackError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_readable_by_its_owner_only(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "deep" / "data")
    assert _mode(data_dir.path) == 0o700
    assert _mode(data_dir.logs) == 0o700


def test_an_empty_folder_is_taken_and_a_strangers_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    assert _mode(DataDir(tmp_path / "empty").path) == 0o700
    (tmp_path / "photos").mkdir(mode=0o755)
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(StackError, match=r"photos holds other files \(cat.jpg"):
        DataDir(tmp_path / "photos")
    assert _mode(tmp_path / "photos") == 0o755


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StackError, match=r"file.* is not a folder.*--data-dir"):
            DataDir(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StackError, match="can't be written"):
        DataDir(tmp_path / "data")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = DataDir(tmp_path / "data")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StackError, match=f"The disk that holds {data_dir.path} is full"):
        data_dir.write("stack.json", {"a": 1})
    assert not list(data_dir.path.glob("*stack.json*"))


def test_a_second_holder_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    assert data_dir.holder() is None
    with data_dir.lock():
        assert data_dir.holder() == os.getpid()
        refused = pytest.raises(StackError, match=rf"already runs on .*process {os.getpid()}.*openv down")
        with refused, DataDir(data_dir.path).lock():
            pass
    assert data_dir.holder() is None
    with data_dir.lock():
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from operations.stack.data_dir import DataDir\n"
        "with DataDir(Path(sys.argv[1])).lock(): print(os.getpid(), flush=True); sys.stdin.read()"
    )
    path = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as holder:
        assert holder.stdout is not None
        assert int(holder.stdout.readline()) == holder.pid
        assert DataDir(path).holder() == holder.pid
        holder.kill()
    assert DataDir(path).holder() is None
    with DataDir(path).lock():
        assert DataDir(path).holder() == os.getpid()


def test_credentials_are_random_kept_and_private(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    made = iter(["first", "second"])
    assert data_dir.credential("api_key", lambda: next(made)) == "first"
    assert DataDir(tmp_path / "data").credential("api_key", lambda: next(made)) == "first"
    assert data_dir.credential("other", lambda: next(made)) == "second"
    assert data_dir.read("credentials.json") == {"api_key": "first", "other": "second"}
    assert _mode(data_dir.path / "credentials.json") == 0o600


def test_small_files_are_replaced_whole_and_removed(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    assert data_dir.read("stack.json") == {}
    data_dir.write("stack.json", {"pid": 1})
    data_dir.write("stack.json", {"pid": 2})
    assert data_dir.read("stack.json") == {"pid": 2}
    data_dir.remove("stack.json")
    data_dir.remove("stack.json")
    assert data_dir.read("stack.json") == {}
    assert not [entry for entry in data_dir.path.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    data_dir = DataDir(tmp_path / "data")
    (data_dir.path / "stack.json").write_text(content)
    with pytest.raises(StackError, match=r"stack.json is damaged. Delete it"):
        data_dir.read("stack.json")
