"""Ports that stay the same as long as they are free."""

import socket
from pathlib import Path

from operations.stack.data_dir import DataDir
from operations.stack.ports import LOOPBACK, RememberedPorts, choose, is_free


def _listener(port: int = 0) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen()
    return listener


def test_new_ports_are_free_and_differ() -> None:
    chosen = choose("abcdefgh", {})
    assert len(set(chosen.values())) == 8
    assert all(is_free(port) for port in chosen.values())


def test_a_taken_port_is_replaced_and_the_others_stay() -> None:
    first = choose("ab", {})
    with _listener(first["a"]):
        second = choose("ab", first)
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_servers_of_one_directory_never_share_a_port(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    one = RememberedPorts(data_dir, "one", "ab").for_start()
    data_dir.write("ports.json", {"one": one, "two": {"a": one["a"], "b": "nonsense"}})
    two = RememberedPorts(data_dir, "two", "ab").for_start()
    assert not set(one.values()) & set(two.values())


def test_ports_are_remembered_from_start_to_start(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    assert RememberedPorts(data_dir, "s3", "ab").for_start() == RememberedPorts(data_dir, "s3", "ab").for_start()


def test_once_the_server_has_answered_a_restart_keeps_its_ports(tmp_path: Path) -> None:
    ports = RememberedPorts(DataDir(tmp_path / "data"), "s3", "a")
    first = ports.for_start()
    with _listener(first["a"]):
        moved = ports.for_start()
    assert moved != first
    ports.settle()
    with _listener(moved["a"]):
        assert ports.for_start() == moved
