"""The command line: every command explains itself with an example, and a person's mistake is one sentence."""

import click
import pytest
import typer
from typer.testing import CliRunner

from operations.cli import app


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found += commands(command, (*path, name)) if inner is not None else [(*path, name)]  # type: ignore[arg-type]
    return found


COMMANDS = commands(typer.main.get_command(app))  # type: ignore[arg-type]


def test_the_commands_are_those_of_the_readme() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "up", "down", "status", "generate", "gateway", "streams", "worker", "admin", "audit list",
        "topics apply", "topics create", "topics describe", "keys create", "keys link", "keys list", "keys revoke",
        "endpoints create", "endpoints list", "endpoints show", "endpoints update", "endpoints delete", "endpoints key",
        "users show", "users role", "users limit", "users block", "users unblock", "users credits", "users delete",
        "users list", "users reset",
        "jobs list", "jobs show", "jobs tail", "jobs requeue", "jobs kill", "jobs cancel", "jobs delete",
        "backup", "restore", "rebuild",
        "workers list", "workers show", "workers pools", "workers drain", "doctor", "topics acls",
        "replay", "replays list", "replays show", "replays pause", "replays cancel",
        "deadletters list", "deadletters show", "deadletters redrive", "deadletters edit", "deadletters discard",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_says_what_it_does_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example: " in result.output
    assert f"openv {' '.join(path)}" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "a prompt"),
        ("topics", "describe"),
        ("keys", "create", "--user", "alice"),
        ("users", "show", "alice"),
        ("endpoints", "list"),
    ],
)
def test_without_a_stack_a_command_says_how_to_start_one(
    arguments: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENV_URL", "OPENV_API_KEY", "KAFKA_BOOTSTRAP_SERVERS", "MONGODB_URI", "S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    nowhere = tmp_path_factory.mktemp("nowhere") / "data"
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(nowhere)])
    assert result.exit_code == 1
    assert "start one with `openv up`" in result.output
    assert "Traceback" not in result.output


def test_a_url_without_a_key_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    result = CliRunner().invoke(
        app, ["generate", "a", "--data-dir", str(tmp_path_factory.mktemp("x"))], env={"OPENV_URL": "http://127.0.0.1:1"}
    )
    assert result.exit_code == 1
    assert "OPENV_API_KEY" in result.output
