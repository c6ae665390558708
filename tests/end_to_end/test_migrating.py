"""Every program of docs/migrating.md runs as it stands, with the unmodified packages, against a real stack."""

import re
from pathlib import Path

import pytest

from tests.end_to_end.stack import Stack
from tests.sdks.programs import key_of, node_text, printed_by, python_text

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]
PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
BLOCK = re.compile(r"^```(python|js)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = [
    pytest.param(language, text, id=f"{language}-{number}")
    for number, (language, text) in enumerate(BLOCK.findall(PAGE.read_text()))
]


def test_the_page_has_programs_for_both_apis_and_languages() -> None:
    imported = re.compile(r"^(?:import|from) .*?(runpod|openai)\b", re.MULTILINE)
    found = {(program.values[0], *imported.findall(str(program.values[1]))) for program in PROGRAMS}
    assert found == {("python", "runpod"), ("js", "runpod"), ("python", "openai"), ("js", "openai")}


@pytest.mark.parametrize(("language", "program"), PROGRAMS)
async def test_it_runs(
    stack: Stack, tmp_path: Path, request: pytest.FixtureRequest, language: str, program: str
) -> None:
    key = key_of(await stack.new_user(f"migrating-{request.node.callspec.id}"))
    command = python_text(program, tmp_path) if language == "python" else node_text(program, tmp_path)
    printed = await printed_by(command, tmp_path, OPENV_URL=stack.url, OPENV_API_KEY=key)
    assert printed.strip(), "it said nothing"
