"""When Kafka's folder counts as formatted."""

import json
from pathlib import Path

import pytest

from operations.stack.errors import StackError
from operations.stack.kafka import KafkaServer, _formatted
from operations.stack.kafka_probe import cluster_id_at
from operations.stack.ports import LOOPBACK, choose


def _folder(tmp_path: Path, *, marked: bool, properties: bool, records: bytes | None) -> tuple[Path, Path]:
    log = tmp_path / "log"
    (log / "openv.events-0").mkdir(parents=True)
    if records is not None:
        (log / "openv.events-0" / "00000000000000000000.log").write_bytes(records)
    if properties:
        (log / "meta.properties").write_text("node.id=1\ncluster.id=abc\n")
    if marked:
        (tmp_path / "formatted.json").write_text(json.dumps({"cluster_id": "abc"}))
    return tmp_path, log


@pytest.mark.parametrize("records", [None, b"", b"x"])
def test_a_whole_folder_is_used_as_it_is(tmp_path: Path, records: bytes | None) -> None:
    assert _formatted(*_folder(tmp_path, marked=True, properties=True, records=records)) == "abc"


@pytest.mark.parametrize(("marked", "properties"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("records", [None, b""])
def test_a_half_written_folder_without_records_is_formatted_again(
    tmp_path: Path, marked: bool, properties: bool, records: bytes | None
) -> None:
    assert _formatted(*_folder(tmp_path, marked=marked, properties=properties, records=records)) == ""


@pytest.mark.parametrize(("marked", "properties"), [(True, False), (False, True), (False, False)])
def test_a_half_written_folder_with_records_is_left_alone(tmp_path: Path, marked: bool, properties: bool) -> None:
    folder, log = _folder(tmp_path, marked=marked, properties=properties, records=b"x")
    with pytest.raises(StackError, match="holds records but is not whole"):
        _formatted(folder, log)
    assert (log / "openv.events-0" / "00000000000000000000.log").read_bytes() == b"x"


@pytest.mark.parametrize("content", ["", "node.i", "node.id=1\ncluster.id=\n"])
def test_kafkas_own_mark_cut_short_is_named_not_retried(tmp_path: Path, content: str) -> None:
    folder, log = _folder(tmp_path, marked=True, properties=True, records=b"x")
    (log / "meta.properties").write_text(content)
    with pytest.raises(StackError, match="holds records but is not whole"):
        _formatted(folder, log)


def test_a_folder_of_another_cluster_is_named(tmp_path: Path) -> None:
    folder, log = _folder(tmp_path, marked=True, properties=True, records=b"x")
    (log / "meta.properties").write_text("node.id=1\ncluster.id=xyz\n")
    with pytest.raises(StackError, match=r"another cluster \(xyz\) than formatted.json says \(abc\)"):
        _formatted(folder, log)


def test_a_damaged_mark_is_named(tmp_path: Path) -> None:
    folder, log = _folder(tmp_path, marked=True, properties=True, records=b"x")
    (folder / "formatted.json").write_text("{")
    with pytest.raises(StackError, match=r"formatted.json is damaged"):
        _formatted(folder, log)


async def test_a_format_that_fails_is_told_with_its_log(tmp_path: Path) -> None:
    kafka = KafkaServer(tmp_path / "kafka", java="/bin/false", class_path="")
    with pytest.raises(StackError, match=r"could not be formatted \(the log is .*format.log"):
        await kafka.prepare(choose(("broker", "controller"), {}))


async def test_nobody_on_the_port_is_no_cluster() -> None:
    assert await cluster_id_at(LOOPBACK, choose("a", {})["a"]) is None
