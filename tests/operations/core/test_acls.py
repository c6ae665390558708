"""The table of rights, as commands and as the handbook shows it."""

import shlex
from pathlib import Path

from operations.core.acls import ALL_TOPICS, GROUPS, TABLE, Acl, acls, commands

HANDBOOK = Path(__file__).parents[3] / "docs" / "operations.md"


def test_the_commands_say_what_the_table_says() -> None:
    said: set[Acl] = set()
    for line in commands("a-", "kafka:9093", "my file"):
        words = shlex.split(line)
        assert words[:6] == [
            "kafka-acls.sh",
            "--bootstrap-server",
            "kafka:9093",
            "--command-config",
            "my file",
            "--add",
        ]
        said |= _said(words[6:])
    assert said == set(acls("a-"))


def _said(words: list[str]) -> set[Acl]:
    prefixed = words[-2:] == ["--resource-pattern-type", "prefixed"]
    who, operations, resources = "", [], []
    rest = iter(words[:-2] if prefixed else words)
    for word in rest:
        match word:
            case "--allow-principal":
                who = next(rest)
            case "--operation":
                operations.append(next(rest))
            case "--cluster":
                resources.append(("cluster", "kafka-cluster"))
            case "--topic" | "--group":
                resources.append((word.removeprefix("--"), next(rest)))
            case _:
                raise AssertionError(word)
    return {Acl(who, kind, name, operation, prefixed) for kind, name in resources for operation in operations}


def test_nobody_has_everything_and_only_streams_and_operators_write_decisions() -> None:
    lines = list(acls())
    assert len(set(lines)) == len(lines)
    assert not [one for one in lines if one.operation in ("All", "Alter", "Delete", "ClusterAction") or one.name == "*"]
    writers = {one.principal for one in lines if (one.name, one.operation) == ("openv.events", "Write")}
    assert writers == {"User:openv-streams", "User:openv-operator"}
    managers = {one.principal for one in lines if one.operation in ("Create", "AlterConfigs")}
    assert managers == {"User:openv-operator"}


def test_the_handbook_shows_the_same_table() -> None:
    rows = [line.split("|")[1:-1] for line in HANDBOOK.read_text().splitlines() if line.startswith("| `openv-")]
    shown = {cells[0].strip(" `"): tuple(_names(cell) for cell in cells[1:]) for cells in rows}
    assert shown.keys() == {f"openv-{rights.part}" for rights in TABLE}
    for rights in TABLE:
        reads, writes, groups = shown[f"openv-{rights.part}"]
        expected = {topic.name for topic in rights.reads}
        assert reads == (expected if rights.reads != ALL_TOPICS else set())
        assert writes == {topic.name for topic in rights.writes}
        assert groups == set(rights.groups)
    assert set(GROUPS) == shown["openv-streams"][2]


def _names(cell: str) -> set[str]:
    return {name.strip(" `") for name in cell.split(",") if "`" in name}
