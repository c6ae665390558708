"""The SDKs that the tests run are the ones that the locks name, and stay apart from what is ours."""

import json
import re
import subprocess
from pathlib import Path

from tests.sdks import where

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import importlib.metadata as m, sys; print(m.version('runpod'), m.version('openai'), sys.version)"


def test_the_python_sdks_are_the_pinned_ones_and_run_on_the_python_that_openv_runs_on() -> None:
    lock = (ROOT / "requirements" / "sdks.txt").read_text()
    pins = [str(re.search(rf"^{name}==(\S+)", lock, re.MULTILINE)[1]) for name in ("runpod", "openai")]  # type: ignore[index]
    ours = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=True
    )
    theirs = subprocess.run([where.python(), "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert theirs.stdout == " ".join(pins) + " " + ours.stdout


def test_the_javascript_sdks_are_the_pinned_ones_and_load() -> None:
    pins = json.loads((ROOT / "tests" / "sdks" / "package.json").read_text())["dependencies"]
    program = """
        import OpenAI from 'openai'
        import runpod from 'runpod-sdk'
        import { readFileSync } from 'node:fs'
        const version = name => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version
        if (typeof OpenAI !== 'function' || typeof runpod !== 'function') throw new Error('not as documented')
        console.log(JSON.stringify({ openai: version('openai'), 'runpod-sdk': version('runpod-sdk') }))
    """
    done = subprocess.run(
        [where.node(), "--input-type=module", "-"],
        input=program,
        cwd=Path(where.node_modules()).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == pins


def test_the_lock_has_hashes_and_no_addresses() -> None:
    packages = json.loads((ROOT / "tests" / "sdks" / "package-lock.json").read_text())["packages"]
    others = [entry for name, entry in packages.items() if name]
    assert others
    assert all(entry["integrity"].startswith("sha512-") and "resolved" not in entry for entry in others)
