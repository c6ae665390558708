"""Where the SDKs of other services are that the tests run; `make sdks` puts them there."""

import shutil
from pathlib import Path

import pytest

SDKS = Path(__file__).resolve().parents[2] / ".sdks"


def python() -> str:
    """The interpreter that has ``runpod`` and ``openai``."""
    return str(_made(SDKS / "python" / "bin" / "python"))


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.fail("node is not on this machine; `scripts/setup --tests --only-check` says which package brings it.")
    return found


def node_modules() -> str:
    """The folder with ``runpod-sdk`` and ``openai`` in it. ``require`` looks there with ``NODE_PATH`` set to it;
    ``import`` does if the program comes on standard input (``node --input-type=module -``) and is run in its parent."""
    return str(_made(SDKS / "node_modules"))


def _made(path: Path) -> Path:
    if not (SDKS / ".openv-stamp").exists() or not path.exists():
        pytest.fail("The SDKs that this test runs are not in .sdks, or only half: `make sdks` fetches them.")
    return path
