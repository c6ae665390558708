"""``openv up`` on machines where it can't start: one sentence each, from the real command, and nothing touched."""

import json
import socket
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from operations.stack.data_dir import DataDir
from tests.operations.machines import UNPRIVILEGED, mounted, openv


def _file(path: Path) -> Path:
    path.write_text("mine")
    return path


def _below_a_file(path: Path) -> Path:
    return _file(path) / "below"


def _dangling(path: Path) -> Path:
    path.symlink_to(path.with_name("nowhere"))
    return path


def _strangers(path: Path) -> Path:
    path.mkdir()
    _file(path / "cat.jpg")
    return path


def _newer(path: Path) -> Path:
    path.mkdir()
    (path / "data-dir.json").write_text('{"format": 2}')
    return path


def _damaged(path: Path) -> Path:
    path.mkdir()
    (path / "data-dir.json").write_text("{")
    return path


def _damaged_secrets(path: Path) -> Path:
    (DataDir(path).path / "credentials.json").write_text('{"s3_acc')
    return path


PLACES: list[tuple[Callable[[Path], Path], tuple[str, ...]]] = [
    (_file, ("is not a folder", "--data-dir")),
    (_below_a_file, ("is not a folder", "--data-dir")),
    (_dangling, ("is a link to", "not there", "--data-dir")),
    (_strangers, ("holds other files (cat.jpg", "--data-dir")),
    (_newer, ("another version of OpenV (format 2; this one knows 1)", "--data-dir")),
    (_damaged, ("data-dir.json is damaged", '{"format": 1}')),
    (_damaged_secrets, ("credentials.json is damaged", "Delete it")),
]


@pytest.mark.parametrize(("make", "words"), PLACES, ids=[make.__name__ for make, _ in PLACES])
def test_a_place_that_will_not_do_is_named_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], Path], words: tuple[str, ...]
) -> None:
    place = make(tmp_path / "place")

    def contents() -> dict[str, str | None]:
        return {
            str(path): path.read_text() if path.is_file() else None
            for path in tmp_path.rglob("*")
            if path.name not in ("lock", "logs", "s3")  # of a directory that is ours
        }

    before = contents()
    assert openv("up", "--port", "0", "--data-dir", place).is_one_sentence(*words)
    assert contents() == before


def test_a_folder_of_another_user_is_named(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o000)
    assert openv("up", "--data-dir", place, by=UNPRIVILEGED).is_one_sentence(
        str(place), "can't be written", "--data-dir"
    )
    assert openv("status", "--data-dir", place, by=UNPRIVILEGED).is_one_sentence(str(place), "can't be read")


def test_a_disk_that_is_read_only_is_named(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro") as disk:
        assert openv("up", "--data-dir", disk / "data").is_one_sentence("can't be written", "--data-dir")


def test_a_disk_without_room_is_named_before_anything_starts(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=100m") as disk:
        said = openv("up", "--port", "0", "--data-dir", disk / "data")
        assert said.is_one_sentence(
            f"The disk that holds {disk / 'data'} is full", "free at least 128 MiB", "start again"
        )
        assert not list((disk / "data").glob("*/*"))


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        ((), {"MONTHLY_LIMIT_SECONDS": "abc"}, ("MONTHLY_LIMIT_SECONDS is not valid",)),
        ((), {"OPENV_REFUND_ON_CANCEL": "sometimes"}, ("OPENV_REFUND_ON_CANCEL is not valid",)),
        ((), {"OPENV_POOL": "my pool"}, ("OPENV_POOL must be",)),
        ((), {"S3_FALLBACK_ENDPOINT_URL": "http://127.0.0.1:1"}, ("S3_FALLBACK_ACCESS_KEY_ID",)),
        (("--prompt", "x" * 501), {}, ("The prompt must be at most 500 characters",)),
        (("--prompt", " "), {}, ("The prompt must not be empty",)),
    ],
    ids=["a number", "a choice", "a name", "a pair", "too long", "empty"],
)
def test_what_the_parts_would_refuse_is_said_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], words: tuple[str, ...]
) -> None:
    said = openv("up", "--port", "0", "--data-dir", tmp_path / "data", *arguments, **environ)
    assert said.is_one_sentence(*words)
    assert not (tmp_path / "data" / "kafka").exists()


def test_the_port_may_come_from_the_environment(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = openv("up", "--data-dir", tmp_path / "data", OPENV_PORT=port)
    assert said.is_one_sentence(f"Port {port} on 127.0.0.1 is taken by process")


def test_an_address_that_is_none_is_named(tmp_path: Path) -> None:
    said = openv("generate", "a corgi", OPENV_URL="127.0.0.1:8000", OPENV_API_KEY="ov_x")
    assert said.is_one_sentence("OPENV_URL must begin with http:// or https://")


@pytest.mark.parametrize("command", ["status", "down"])
def test_looking_writes_nothing(tmp_path: Path, command: str) -> None:
    said = openv(command, "--data-dir", tmp_path)
    assert (said.code, said.out, said.err) == (3 if command == "status" else 0, f"No OpenV runs on {tmp_path}.\n", "")
    assert not list(tmp_path.iterdir())


def test_a_port_of_another_program_is_named_with_its_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = openv("up", "--port", port, "--data-dir", tmp_path / "data")
    assert said.is_one_sentence(f"Port {port} on 127.0.0.1 is taken by process", "--port")
    assert not (tmp_path / "data" / "kafka").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "192.0.2.1"), ("192.0.2.1 is no address of this machine", "--host")),
        (("--host", ""), ("--host is empty", "127.0.0.1")),
    ],
)
def test_a_host_that_is_not_this_machines_is_named(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert openv("up", "--data-dir", tmp_path / "data", "--port", "0", *arguments).is_one_sentence(*words)


def test_a_port_for_root_alone_is_named(tmp_path: Path) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("every user may listen on port 80 here")
    said = openv("up", "--data-dir", tmp_path / "data", "--port", "80", by=UNPRIVILEGED)
    assert said.is_one_sentence("Port 80 on 127.0.0.1 is not for your user", "--port")


@pytest.mark.parametrize(
    ("java", "words"),
    [
        (None, ("`java` is missing", "apt-get install")),
        ("echo 'openjdk version \"11.0.2\" 2024' >&2", ("is Java 11", "17 or newer", "apt-get install")),
        ("echo 'java version \"1.8.0_402\"' >&2", ("is Java 8", "17 or newer")),
        ("exit 1", ("does not run", "apt-get install")),
    ],
)
def test_a_java_that_will_not_do_is_named(tmp_path: Path, java: str | None, words: tuple[str, ...]) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if java is not None:
        (programs / "java").write_text(f"#!/bin/sh\n{java}\n")
        (programs / "java").chmod(0o755)
    said = openv("up", "--port", "0", "--data-dir", tmp_path / "data", PATH=str(programs))
    assert said.is_one_sentence(*words)


def test_a_stale_lock_names_a_stranger_who_is_not_ended(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            (data_dir.path / "lock").write_text(f"{stranger.pid}\n")
            data_dir.write("stack.json", {"pid": stranger.pid, "url": "http://127.0.0.1:1", "ready": True})
            assert openv("down", "--data-dir", data_dir.path).out == f"No OpenV runs on {data_dir.path}.\n"
            assert json.loads(openv("status", "--json", "--data-dir", data_dir.path).out) == {"running": False}
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_the_version_is_said() -> None:
    assert openv("--version").out == f"openv {version('openv')}\n"
