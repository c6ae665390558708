"""The jars' cache: two at once, a fetch that was killed, a machine that lacks a program."""

import asyncio
from pathlib import Path

import pytest

from operations.stack import jars
from operations.stack.errors import StackError

MAVEN = """#!/bin/sh
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) folder=${argument#*=} ;; esac; done
echo fetched >>"$COUNT"
touch "$folder/b.jar" "$folder/a.jar"
"""
BROKEN_MAVEN = """#!/bin/sh
echo "[ERROR] Could not transfer artifact: unknown host"
echo "[ERROR] To see the full stack trace, run with -e"
exit 1
"""


def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> dict[str, str]:
    """A machine whose only programs are these scripts; returns its environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setattr(jars.shutil, "which", lambda name: str(folder / name) if (folder / name).exists() else None)
    return {"PATH": "/usr/bin:/bin", "OPENV_CACHE_DIR": str(tmp_path / "cache"), "COUNT": str(tmp_path / "count")}


async def test_two_at_once_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = _machine(tmp_path, monkeypatch, mvn=MAVEN, javac="#!/bin/sh\n")
    notes: list[str] = []
    one, two = await asyncio.gather(jars.ensure_jars(notes.append, environ), jars.ensure_jars(notes.append, environ))
    assert one == two == await jars.ensure_jars(notes.append, environ)
    assert (tmp_path / "count").read_text() == "fetched\nfetched\n"  # Kafka's and MongoDB's
    assert [note.split(" with ")[0] for note in notes] == ["Fetching Kafka 4.3.1", "Fetching the MongoDB stand-in"]
    assert [Path(entry).name for entry in one.kafka.split(":")[1:]] == ["a.jar", "b.jar"]


async def test_what_a_killed_fetch_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = _machine(tmp_path, monkeypatch, mvn=MAVEN, javac="#!/bin/sh\n")
    done = await jars.ensure_jars(lambda _note: None, environ)
    done.kafka_folder.rename(done.kafka_folder.with_name(f".{done.kafka_folder.name}.half"))
    assert await jars.ensure_jars(lambda _note: None, environ) == done
    assert not list((tmp_path / "cache").glob(".*"))


async def test_a_fetch_that_fails_is_told_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = _machine(tmp_path, monkeypatch, mvn=BROKEN_MAVEN)
    with pytest.raises(StackError, match=r"Check the network .* It says: \[ERROR\] Could not transfer artifact"):
        await jars.ensure_jars(lambda _note: None, environ)
    assert sorted(entry.suffix or entry.name for entry in (tmp_path / "cache").iterdir()) == [".log", "lock"]


async def test_a_missing_program_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = _machine(tmp_path, monkeypatch)
    with pytest.raises(StackError, match=r"`mvn` is missing.*apt-get install"):
        await jars.ensure_jars(lambda _note: None, environ)
