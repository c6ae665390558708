"""A worker on RunPod's own SDK whose handler does nothing. Runs on the Python in .sdks; nothing of ours is imported.

``BENCH_AT_ONCE`` is how many jobs it takes on at a time; ``BENCH_STARTED`` names a file that says it has begun.
"""

import os
from pathlib import Path
from typing import Any

import runpod  # type: ignore[import-not-found]  # it is in .sdks alone


def handler(_: dict[str, Any]) -> dict[str, Any]:
    return {}


def at_once(_: int) -> int:
    return int(os.environ["BENCH_AT_ONCE"])


if __name__ == "__main__":
    Path(os.environ["BENCH_STARTED"]).touch()
    runpod.serverless.start({"handler": handler, "concurrency_modifier": at_once})
