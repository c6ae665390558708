"""Every program of docs/migrating.md runs as it stands, with the unmodified packages, against a real stack."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.end_to_end.stack import Stack
from tests.sdks import where

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
    client = await stack.new_user(f"migrating-{request.node.callspec.id}")
    key = client.headers["authorization"].removeprefix("Bearer ")
    if language == "python":
        file, command = tmp_path / "program.py", str(where.python())
    else:
        file, command = tmp_path / "program.mjs", str(where.node())
        (tmp_path / "node_modules").symlink_to(where.node_modules())
    file.write_text(program)
    process = await asyncio.create_subprocess_exec(
        command,
        str(file),
        cwd=tmp_path,
        env={**os.environ, "OPENV_URL": stack.url, "OPENV_API_KEY": key, "NO_PROXY": "*"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(300):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert printed.decode().strip(), "it said nothing"
