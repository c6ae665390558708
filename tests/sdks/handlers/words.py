"""A worker on RunPod's unmodified SDK, whose generator yields the words of its input, one after another.

``hold``: it first waits until that file is there. ``fail``: it raises an error instead.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import runpod


async def words(job: dict[str, Any]) -> AsyncIterator[Any]:
    given = job["input"]
    if "fail" in given:
        raise ValueError(given["fail"])
    if "hold" in given:
        runpod.serverless.progress_update(job, "held")
        while not Path(given["hold"]).exists():  # noqa: ASYNC110, ASYNC240 -- another process makes it
            await asyncio.sleep(0.05)
    for word in given["words"]:
        yield word


runpod.serverless.start({"handler": words, "return_aggregate_stream": True})
