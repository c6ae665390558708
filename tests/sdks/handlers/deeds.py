"""A worker on RunPod's SDK that does what its input says. ``WORKER_KIND`` chooses among its handlers.

Files in ``FOLDER`` are how a test and its worker wait for each other.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import runpod  # type: ignore[import-not-found]  # it is in .sdks alone

FOLDER = Path(os.environ["FOLDER"])
AT_ONCE = 3
running = 0


async def there(name: str) -> None:
    """Until the test has made this file."""
    while not (FOLDER / name).exists():  # noqa: ASYNC110 -- another process makes it
        await asyncio.sleep(0.05)


def note(name: str) -> None:
    """Let the test see this file."""
    (FOLDER / name).touch()


def deed(job: dict[str, Any]) -> Any:
    """Answers at once, or with a coroutine: the SDK takes either."""
    if job["input"]["do"] == "block":
        time.sleep(job["input"]["seconds"])  # as a model does: nothing else of the worker runs meanwhile
        return "unblocked"
    return job["input"]["number"] * 2 if job["input"]["do"] == "double" else done(job)


async def done(job: dict[str, Any]) -> Any:
    """One job as its input wants it."""
    asked = job["input"]
    match asked["do"]:
        case "echo":
            return {"said": asked["text"], "by": os.environ["RUNPOD_POD_ID"]}
        case "grow":
            return {"length": len(asked["text"]), "text": "y" * asked["bytes"]}
        case "number":
            return 41 + 1
        case "nothing":
            return {}
        case "fail":
            return {"error": "out of luck", "seen": asked}
        case "raise":
            raise ValueError("out of sorts")
        case "refresh":
            return {"said": "bye", "refresh_worker": True}
        case "report":
            runpod.serverless.progress_update(job, {"step": 1, "of": 2})
            await there(asked["file"])
            return "done"
        case "wait":
            return await waited(asked["file"])
    return None


async def waited(name: str) -> Any:
    """Begin, wait for the test, end; or be stopped."""
    note(f"{name}.begun")
    try:
        await there(name)
    except asyncio.CancelledError:
        note(f"{name}.stopped")
        raise
    return {"by": os.environ["RUNPOD_POD_ID"]}


async def stream(job: dict[str, Any]) -> AsyncIterator[Any]:
    """A generator: each word is a chunk, and the third one waits for the test; or one that ends only when three of
    them have run at a time."""
    global running
    running += 1
    if running == AT_ONCE:
        note("together")
    for number, word in enumerate(job["input"].get("words", ["alone"])):
        if number == 2 or word == "alone":
            await there(job["input"]["file"])
        yield {"word": word}
    running -= 1


WORKERS: dict[str, dict[str, Any]] = {
    "deeds": {"handler": deed},
    "stream": {"handler": stream, "return_aggregate_stream": True, "concurrency_modifier": lambda _: AT_ONCE},
}

if __name__ == "__main__":
    runpod.serverless.start(WORKERS[os.environ["WORKER_KIND"]])
