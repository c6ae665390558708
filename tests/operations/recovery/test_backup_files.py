"""What a backup that is killed or fails leaves behind and says, and what would spoil it."""

import asyncio
import gzip
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bson import Code, ObjectId
from bson.datetime_ms import DatetimeMS

from operations import local
from operations.recovery import backup as module
from operations.recovery import backup_file
from operations.recovery.backup import BYTES_AT_ONCE, READ_AT_FIRST, READ_AT_ONCE
from operations.recovery.backup_file import BackupWriter, Header, is_ours, read
from operations.stack.data_dir import DataDir
from operations.stack.errors import StackError
from schemas.audit import AuditEntry
from schemas.codec import decode
from schemas.topics import AUDIT
from tests.operations.recovery.rig import Room, a_job

KILLED = """
import sys, time
from pathlib import Path
from operations.recovery.backup import _new_file
with _new_file(Path(sys.argv[1])) as out:
    out.write(b"x" * 100_000)
    out.flush()
    print("half", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name are Linux'")
async def test_who_is_killed_leaves_no_file(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path / "b.gz"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []


def test_a_file_system_that_names_all_files_is_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, refused = os.open, list[int]()

    def without(path: Any, flags: int, *more: Any, **others: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            refused.append(flags)
            raise OSError(95, "Operation not supported")
        return opened(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", without)
    with module._new_file(tmp_path / "b.gz") as out:
        assert [file.suffix for file in tmp_path.iterdir()] == [".partial"]
        out.write(b"all")
    assert refused
    assert (tmp_path / "b.gz").read_bytes() == b"all"
    assert [file.name for file in tmp_path.iterdir()] == ["b.gz"]
    with pytest.raises(StackError, match="replaces none"), module._new_file(tmp_path / "b.gz") as out:
        out.write(b"other")
    assert [file.name for file in tmp_path.iterdir()] == ["b.gz"]


def test_two_of_one_name_leave_the_first(tmp_path: Path) -> None:
    late = module._new_file(tmp_path / "b.gz")
    late.__enter__().write(b"late")
    with module._new_file(tmp_path / "b.gz") as first:
        first.write(b"first")
    with pytest.raises(StackError, match="replaces none"):
        late.__exit__(None, None, None)
    assert (tmp_path / "b.gz").read_bytes() == b"first"


@pytest.mark.servers
async def test_a_backup_that_is_no_file_in_the_end_is_audited_as_failed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    await room.store(a_job(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StackError, match="No space left"):
        await room.back_up()
    assert list(room.folder.iterdir()) == []
    end = decode(room.log.records(AUDIT.name)[-1])
    assert isinstance(end, AuditEntry)
    assert (end.action, end.stage.value) == ("backup.create", "failed")


@pytest.mark.servers
async def test_what_somebody_put_there_by_hand_spoils_no_backup(room: Room) -> None:
    await room.store(a_job(1), a_job(2))
    jobs = room.database.connection.collection("jobs")
    beyond = DatetimeMS(9 * 10**15)
    strange: list[dict[str, Any]] = [
        {"_id": ObjectId(), "version": 1},
        {"_id": 7},
        {"_id": "date", "labels": {"$date": "zz"}},
        {"_id": "code", "x": [Code("f()")]},
    ]
    await jobs.insert_many([*strange, {"_id": "year", "version": 3, "createdAt": beyond}])
    made = await room.back_up()
    assert dict(made.left_out) == {"jobs": len(strange)}
    assert made.counts["jobs"] == 3
    await room.empty()
    assert (await room.restore()).stored["jobs"] == 3
    found = (await room.everything())["jobs"]
    assert set(found) == {"job-1", "job-2", "year"}
    assert found["year"]["createdAt"] == beyond
    known = await room.database.upkeep.known_jobs(["job-1", "year"])
    assert (known["job-1"], known["year"]) == (a_job(1), None), "damaged, and in nobody's way"


def test_documents_of_ours_are_told_from_others() -> None:
    assert is_ours({"_id": "a", "labels": {"a%2Eb": "$x"}, "x": [{"y": None}]})
    assert not is_ours({"_id": 1})
    assert not is_ours({"_id": "a", "x": [[{"$oid": "y"}]]})


def test_few_are_read_at_once_where_they_are_large() -> None:
    pace = module._Pace()
    assert pace() == READ_AT_FIRST
    for _ in range(20):
        pace.saw(pace(), pace() * 100)
    assert pace() == READ_AT_ONCE
    pace.saw(100, 100 * 2**20)
    assert pace() == BYTES_AT_ONCE // 2**20
    pace.saw(1, 2**30)
    assert pace() == 1


def test_few_lines_are_held_at_once_where_they_are_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_file, "BYTES_AT_ONCE", 1_000)
    header = Header(backup_id="b", openv_version="1", created_at=1, database="d", collections=("jobs",))
    with (tmp_path / "b.gz").open("wb") as out:
        writer = BackupWriter(out, header)
        writer.begin("jobs")
        writer.add([{"_id": str(number), "x": "y" * 400} for number in range(10)])
        writer.end()
        writer.close()
    with (tmp_path / "b.gz").open("rb") as source:
        held = Counter(len(part[1]) for part in read(source) if isinstance(part, tuple))
    assert held == {3: 3, 1: 1}
    assert gzip.decompress((tmp_path / "b.gz").read_bytes()).count(b"\n") == 14


def test_no_backup_is_poured_into_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(StackError, match="is a terminal"):
        module._require_new(module.STDOUT)


@pytest.mark.parametrize(("named", "meant"), [(None, "openv"), ("", "openv"), ("openv_drill", "openv_drill")])
def test_a_drill_beside_a_local_stack_is_in_the_database_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None, meant: str
) -> None:
    told: Mapping[str, str] = {"MONGODB_URI": "mongodb://127.0.0.1:1", "MONGODB_DATABASE": "openv"}
    for name in (*local.SERVER_VARIABLES, local.DATABASE):
        monkeypatch.setenv(name, "")  # so that what is set is taken back
    if named is None:
        monkeypatch.delenv(local.DATABASE)
    else:
        monkeypatch.setenv(local.DATABASE, named)
    data_dir = DataDir(tmp_path / "data")
    with data_dir.lock():
        data_dir.write(local.STACK_FILE, {"environment": told})
        local.server_environment(data_dir.path)
    assert os.environ["MONGODB_URI"] == told["MONGODB_URI"]
    assert os.environ[local.DATABASE] == meant
