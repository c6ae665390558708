"""Run by the Python that has RunPod's unmodified SDK: what its users do with an endpoint. It prints JSON.

Environment: ``RUNPOD_ENDPOINT_BASE_URL``, ``RUNPOD_API_KEY``, ``ENDPOINT`` (its worker is ``handlers/words.py``),
``FOLDER`` (which that worker sees too).
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import runpod
from runpod import AsyncioEndpoint, AsyncioJob
from runpod.http_client import AsyncClientSession

KEY = os.environ["RUNPOD_API_KEY"]
ENDPOINT = os.environ["ENDPOINT"]
FOLDER = Path(os.environ["FOLDER"])
SMALL = {"positive_prompt": "a corgi", "width": 384, "height": 384, "num_frames": 7, "steps": 10}
runpod.api_key = KEY
endpoint = runpod.Endpoint(ENDPOINT)


def seen(look: Callable[[], Any], wanted: Any) -> Any:
    """The last of the looks, once it is the wanted one, or after a minute."""
    until = time.monotonic() + 60
    while (found := look()) != wanted and time.monotonic() < until:
        time.sleep(0.2)
    return found


def purges(endpoint: Any) -> list[Any]:
    """The answers up to the one that leaves nothing to cancel, or for a minute."""
    until, found = time.monotonic() + 60, [endpoint.purge_queue()]
    while found[-1]["status"] != "completed" and time.monotonic() < until:
        found.append(endpoint.purge_queue())
    return found


def error_of(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except requests.HTTPError as error:
        return ["HTTPError", error.response.status_code, error.response.json()]
    except (RuntimeError, TimeoutError) as error:
        return [type(error).__name__, str(error)]
    return ["none"]


def simple() -> dict[str, Any]:
    job = endpoint.run({"words": ["a", {"b": 1}]})
    output = job.output(timeout=60)
    streamed = endpoint.run({"words": list(range(5))})
    failed = endpoint.run({"fail": "no such thing"})
    return {
        "run": [output, job.status()],
        "run_sync": endpoint.run_sync({"input": {"words": ["sync"]}, "policy": {"ttl": 60_000}}, timeout=60),
        "stream": list(streamed.stream()),
        "after_stream": streamed.output(timeout=60),
        "failed": [failed.output(timeout=60), failed.status()],
        "large": len(endpoint.run_sync({"words": ["x" * 3_000_000]}, timeout=60)[0]),
    }


def queue() -> dict[str, Any]:
    """While the only worker is busy."""
    gate = FOLDER / "python-gate"
    held = endpoint.run({"hold": str(gate), "words": ["held"]})
    told: dict[str, Any] = {"running": seen(held.status, "IN_PROGRESS")}
    told["update"] = seen(held.output, "held")
    told["late"] = error_of(lambda: held.output(timeout=1))
    cancelled = endpoint.run({"words": []})
    told["cancel"] = cancelled.cancel()["status"]
    told["cancelled"] = cancelled.status()
    waiting = [endpoint.run({"words": []}) for _ in range(3)]
    told["purges"] = purges(endpoint)
    told["purged"] = [one.status() for one in waiting]
    short = endpoint.run({"input": {"words": []}, "policy": {"ttl": 10_000}})
    wanted = {"inProgress": 1, "inQueue": 1}
    told["health"] = seen(lambda: {name: endpoint.health()["jobs"][name] for name in wanted}, wanted)
    told["workers"] = seen(lambda: endpoint.health()["workers"]["running"], 1)
    told["timed_out"] = [short.output(timeout=60), short.status()]
    gate.touch()
    told["held"] = [held.output(timeout=60), held.status(), held.cancel()["status"]]
    return told


def video() -> dict[str, Any]:
    job = runpod.Endpoint("mochi-1").run(SMALL)
    told: dict[str, Any] = job.output(timeout=150)
    made = requests.get(told["result"], timeout=30)
    return {**told, "is_mp4": made.content[4:8] == b"ftyp", "status_word": job.status()}


def refusals() -> dict[str, Any]:
    def unwrapped(body: dict[str, Any]) -> Any:
        return endpoint.rp_client.post(f"{ENDPOINT}/run", body)

    return {
        "unauthorized": error_of(lambda: runpod.Endpoint(ENDPOINT, api_key="ov_wrong").run({"words": []})),
        "no_endpoint": error_of(lambda: runpod.Endpoint("nothing").run({"words": []})),
        "no_job": error_of(lambda: runpod.endpoint.Job(ENDPOINT, "nothing", endpoint.rp_client).status()),
        "no_input": error_of(lambda: unwrapped({"webhook": "https://example.org"})),
        "policy": error_of(lambda: unwrapped({"input": 1, "policy": {"ttl": 1}})),
        "video_input": error_of(lambda: runpod.Endpoint("mochi-1").run({"positive_prompt": "x", "steps": 1})),
    }


async def asynchronous() -> dict[str, Any]:
    async with AsyncClientSession() as session:
        there = AsyncioEndpoint(ENDPOINT, session)
        job: AsyncioJob = await there.run({"words": [1, 2]})
        streamed = await there.run({"words": ["s"]})
        return {
            "output": await job.output(timeout=60),
            "status": await job.status(),
            "stream": [one async for one in streamed.stream()],
            "health": sorted((await there.health())["jobs"]),
            "cancel": (await job.cancel())["status"],
        }


found = {
    "simple": simple(),
    "queue": queue(),
    "video": video(),
    "refusals": refusals(),
    "asyncio": asyncio.run(asynchronous()),
}
sys.stdout.write(json.dumps(found))
