"""The house's own rules, as tests: sizes, doors, diagrams that are printed, documented settings that exist."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from gateway.settings import GatewaySettings
from inference_worker.remote.settings import RunPodSettings
from inference_worker.settings import WorkerSettings
from operations.admin.settings import AdminSettings
from repo.metrics_server import MetricsSettings
from repo.settings import FallbackSettings, ServerSettings
from schemas.lifecycle import as_mermaid
from streams.settings import StreamsSettings

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("schemas", "repo", "streams", "gateway", "inference_worker", "operations", "bench")
SOURCES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))
SETTINGS = (
    *(ServerSettings, FallbackSettings, GatewaySettings, StreamsSettings, WorkerSettings, RunPodSettings),
    *(AdminSettings, MetricsSettings),
)
LINES_MAX = 350
FUNCTION_LINES_MAX = 60
FORBIDDEN_NAMES = {"utils", "common", "helpers", "base", "manager"}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_a_file_is_small_and_its_functions_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name


def test_no_room_is_called_by_what_it_is_not() -> None:
    assert not [path for path in SOURCES if path.stem in FORBIDDEN_NAMES]


@pytest.mark.parametrize("part", PARTS)
def test_every_package_has_a_door_and_nothing_behind_it_but_words(part: str) -> None:
    for door in (ROOT / part).rglob("__init__.py"):
        body = ast.parse(door.read_text()).body
        assert ast.get_docstring(ast.parse(door.read_text())), door
        assert len(body) == 1, f"{door} holds more than its docstring"


def test_every_module_says_what_it_is() -> None:
    assert not [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]


def test_the_life_cycle_in_the_docs_is_the_one_in_the_code() -> None:
    assert as_mermaid() in (ROOT / "docs" / "architecture.md").read_text()


def test_every_documented_variable_is_read_somewhere() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]{5,})`", table))
    code = "\n".join(path.read_text() for path in SOURCES)
    known = set[str]().union(*(settings.variables() for settings in SETTINGS))
    assert documented
    assert not {name for name in documented - known if name not in code}


def test_every_file_that_the_docs_name_exists() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for name in re.findall(rf"`((?:{'|'.join(PARTS)})/[\w/]+\.\w+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_nothing_committed_names_a_registry_host() -> None:
    hosts = re.compile("|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "repo" + r"\.maven", "npmjs" + r"\.")))
    files = [
        *SOURCES,
        *(ROOT / "requirements").iterdir(),
        *(ROOT / "tests" / "sdks").glob("*.json"),
        *(ROOT / "scripts").iterdir(),
        ROOT / "pyproject.toml",
        ROOT / "Makefile",
        ROOT / "README.md",
    ]
    assert not [path for path in files if path.is_file() and hosts.search(path.read_text())]


def test_every_package_is_installed() -> None:
    found = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in SOURCES if path.name == "__init__.py"}
    assert {name for name in found if not name.startswith("bench")} == set(PROJECT["tool"]["setuptools"]["packages"])
    assert all((path.parent / "__init__.py").exists() for path in SOURCES), "a folder is a package"
