"""Files that somebody made to do harm: said in one sentence, and nobody is kept out for them."""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from operations.cli import app
from operations.recovery.backup_file import FORMAT
from operations.recovery.restore import Into
from operations.stack.errors import StackError
from tests.operations.recovery.rig import Room, a_job

HEADER: Mapping[str, object] = {
    "format": FORMAT,
    "formatVersion": 1,
    "backupId": "forged",
    "openvVersion": "1",
    "createdAt": "2026-11-22T00:00:00Z",
    "database": "openv",
    "collections": ["jobs"],
}
DEEP, HUGE = 5_000, "9" * 30


def forged(document: str = '{"_id":"a"}', **header: object) -> bytes:
    """A file that is whole: its digests are those of what it holds."""
    top = b"#header " + orjson.dumps({**HEADER, **header}) + b"\n"
    return with_header(top, document)


def with_header(top: bytes, document: str = '{"_id":"a"}') -> bytes:
    line = document.encode() + b"\n"
    held = {"documents": 1, "sha256": hashlib.sha256(line).hexdigest()}
    manifest = {"headerSha256": hashlib.sha256(top).hexdigest(), "collections": {"jobs": held}}
    parts = (
        b'#collection "jobs"\n',
        line,
        b"#end ",
        orjson.dumps(held),
        b"\n#manifest ",
        orjson.dumps(manifest),
        b"\n",
    )
    return gzip.compress(top + b"".join(parts))


def positions(text: str) -> bytes:
    """Numbers that no well-made JSON writer writes."""
    told = orjson.dumps({**HEADER, "positions": {}}).decode().replace('"positions":{}', f'"positions":{text}')
    return with_header(f"#header {told}\n".encode())


def member(text: str) -> str:
    return f'{{"_id":"a","x":{text}}}'


DOCUMENTS = {
    "lists": member("[" * DEEP + "]" * DEEP),
    "objects": member('{"a":' * DEEP + "1" + "}" * DEEP),
    "deeper than MongoDB": member("[" * 300 + "]" * 300),
    "number": member(HUGE),
    "long": member(f'{{"$numberLong":"{HUGE}"}}'),
    "decimal": member('{"$numberDecimal":"zz"}'),
    "date": member(f'{{"$date":{{"$numberLong":"{HUGE}"}}}}'),
    "endless date": member('{"$date":1e400}'),
    "bytes": member('{"$type":1,"$binary":2}'),
    "half a character": member('"\\ud800"'),
    "its name": '{"_id":"\\ud800"}',
    "name of a member": '{"_id":"a","x\\u0000":1}',
    "code": member('{"$code":"x","$scope":{"a":1}}'),
    "a command": '{"$set":{"a":1},"_id":"a"}',
    "too large": member('"' + "x" * (16 * 1024 * 1024) + '"'),
    "no name": '{"_id":5}',
}
FILES = {
    **{f"document: {name}": forged(text) for name, text in DOCUMENTS.items()},
    "collections 5": forged(collections=5),
    "collections of lists": forged(collections=[["a"]]),
    "collections null": forged(collections=None),
    "no collections": forged(collections=[]),
    "header of numbers": forged(database=5),
    "long name": forged(backupId="x" * 1_000_000),
    "far offset": positions(f'{{"openv.events":{{"0":{HUGE}}}}}'),
    "negative offset": positions('{"openv.events":{"0":-1}}'),
    "offset of nothing": positions('{"openv.events":5}'),
    "deep header": positions("[" * DEEP + "]" * DEEP),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "forged.gz"


@pytest.mark.parametrize("name", FILES)
def test_what_is_forged_is_said_in_one_sentence(name: str, file: Path) -> None:
    file.write_bytes(FILES[name])
    done = CliRunner().invoke(app, ["restore", str(file), "--check"])
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert "can't be restored. It " in done.output
    assert "Traceback" not in done.output
    assert HUGE not in done.output


def test_the_forger_is_whole_but_for_what_it_forges(file: Path) -> None:
    file.write_bytes(forged(member("[" * 98 + "]" * 98), openvVersion="1\x1b]0;owned\x07", database="a\x1b[2J"))
    done = CliRunner().invoke(app, ["restore", str(file), "--check"])
    assert done.exit_code == 0, done.output
    assert "The file is whole." in done.output
    assert "\x1b" not in done.output


def test_the_version_of_a_later_file_steers_no_terminal(file: Path) -> None:
    file.write_bytes(forged(formatVersion=2, openvVersion="\x1b]0;owned\x07\u202e"))
    done = CliRunner().invoke(app, ["restore", str(file), "--check"])
    assert (done.exit_code, "made by OpenV \ufffd]0;owned\ufffd\ufffd," in done.output) == (1, True), done.output


@pytest.mark.servers
async def test_a_forged_file_closes_no_database(room: Room) -> None:
    await room.store(a_job(1))
    before, identity = await room.everything(), await room.database.identities.identity()
    for name, content in FILES.items():
        (room.folder / "forged.gz").write_bytes(content)
        with pytest.raises(StackError, match="can't be restored"):
            await room.restore("forged.gz", Into.REPLACE)
        assert await room.database.identities.identity() == identity, name
    assert await room.everything() == before
    (room.folder / "forged.gz").write_bytes(forged())
    await room.restore("forged.gz", Into.REPLACE)
    assert list((await room.everything())["jobs"]) == ["a"]
