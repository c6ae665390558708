"""The Dockerfile and the locks it installs: what it copies is there, nobody is root, and the packages suffice."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.deployment.compose import ROOT, filled_in

Instruction = tuple[str, str]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[Instruction]:
    """Every instruction with its arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def stages() -> dict[str, list[Instruction]]:
    """By name, in order; each begins with its FROM."""
    found: dict[str, list[Instruction]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = rest.split(" AS ")[1]
            found[name] = []
        if name:
            found[name].append((word, rest))
    return found


def lineage(name: str) -> list[str]:
    """A stage and those it is made from."""
    source = stages()[name][0][1].split(" AS ")[0]
    return [name, *(lineage(source) if source in stages() else [])]


def pinned(lock: str) -> dict[str, str]:
    """Package and version of every pin."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def test_every_target_of_the_compose_file_is_a_stage() -> None:
    targets = {service["build"]["target"] for service in filled_in()["services"].values() if "build" in service}
    assert targets == {"services", "worker"}
    assert targets <= stages().keys()


@pytest.mark.parametrize("target", ["services", "worker"])
def test_nobody_is_root_and_no_compiler_is_in_the_image(target: str) -> None:
    ancestors = lineage(target)
    assert "build" not in ancestors, "only what the build made is copied"
    users = [rest for name in reversed(ancestors) for word, rest in stages()[name] if word == "USER"]
    assert users
    assert all(re.fullmatch(r"[1-9]\d+:[1-9]\d+", user) for user in users)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_every_package_is_in_the_image() -> None:
    copied = {rest.split("/")[0] for word, rest in stages()["build"] if word == "COPY"}
    assert {name.split(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]} <= copied


def test_copies_between_stages_name_stages() -> None:
    for name, lines in stages().items():
        for word, rest in lines:
            if word == "COPY" and (source := re.match(r"--from=(\S+)", rest)):
                assert source[1] in stages(), name


def test_the_python_of_the_images_is_one_that_the_project_supports() -> None:
    (version,) = (rest.split("=")[1].split("-")[0] for word, rest in instructions() if word == "ARG")
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])


@pytest.mark.parametrize(("lock", "extras"), [("services", ["build"]), ("worker", ["build", "model"])])
def test_the_locks_hold_what_the_project_asks_for_and_nothing_newer(lock: str, extras: list[str]) -> None:
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in extras:
        wanted += PROJECT["project"]["optional-dependencies"][extra]
    pins = pinned(lock) | (pinned("torch") if lock == "worker" else {})
    for requirement in map(Requirement, wanted):
        assert pins[requirement.name] in requirement.specifier
    everything = pinned("packages") | pinned("torch")
    assert pins.items() <= everything.items()


def test_every_lock_that_is_installed_is_hashed() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installed = re.findall(r"--require-hashes[^\n]* -r (\S+)", text)
    assert installed == [f"requirements/{name}.txt" for name in ("uv", "services", "worker", "torch")]
    for name in installed:
        lines = (ROOT / name).read_text().splitlines()
        pins = [line for line in lines if "==" in line and not line.startswith("#")]
        assert all(line.endswith("\\") for line in pins), Path(name).name
