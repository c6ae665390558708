"""Run by the Python that has OpenAI's unmodified SDK: what its users do with videos. The outcome is JSON on stdout.

Environment: ``OPENV_URL``, ``OPENV_API_KEY``, ``POOR_KEY`` (a user without any quota), ``FOLDER`` (for files).
"""

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI shuts its own service down
BASE = os.environ["OPENV_URL"] + "/v1"
FOLDER = Path(os.environ["FOLDER"])
SMALL = {"num_frames": 7, "num_inference_steps": 10}


def error_of(call: Callable[[], Any]) -> list[Any]:
    """Which exception of the SDK it raises, with what the SDK reads from the answer."""
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param, error.message]
    return ["none"]


def run(client: OpenAI) -> dict[str, Any]:
    """Everything in turn."""
    found: dict[str, Any] = {"models": [one.id for one in client.models.list()]}
    video = client.videos.create_and_poll(
        model="sora-2", prompt="a corgi surfing at sunset", size="384x384", extra_body={**SMALL, "seed": 7}
    )
    found["video"] = video.to_dict()
    client.videos.download_content(video.id).write_to_file(FOLDER / "whole.mp4")
    with client.videos.with_streaming_response.download_content(video.id) as response:
        response.stream_to_file(FOLDER / "streamed.mp4")
    client.videos.download_content(video.id, variant="thumbnail").write_to_file(FOLDER / "thumbnail.webp")
    second = client.videos.create(prompt="a cat", size="1280x720", seconds="4")
    found["second"] = second.to_dict()
    found["listed"] = [one.id for one in client.videos.list(limit=1)]
    found["oldest first"] = [one.id for one in client.videos.list(limit=1, order="asc")]
    found["unfinished"] = error_of(lambda: client.videos.download_content(second.id))
    found["deleted"] = client.videos.delete(second.id).to_dict()
    found["errors"] = {
        "gone": error_of(lambda: client.videos.retrieve(second.id)),
        "key": error_of(OpenAI(base_url=BASE, api_key="sk-nothing").videos.list),
        "quota": error_of(lambda: OpenAI(base_url=BASE, api_key=os.environ["POOR_KEY"]).videos.create(prompt="a cat")),
        "seconds": error_of(lambda: client.videos.create(prompt="a cat", seconds="12")),
        "picture": error_of(
            lambda: client.videos.create(prompt="a cat", input_reference=("cat.png", b"p" * 3_000_000))
        ),
        "model": error_of(lambda: client.videos.create(prompt="a cat", model="sora-9")),
        "sprites": error_of(lambda: client.videos.download_content(video.id, variant="spritesheet")),
        "remix": error_of(lambda: client.videos.remix(video.id, prompt="at night")),
        "edit": error_of(lambda: client.videos.edit(prompt="at night", video=b"v" * 3_000_000)),
        "extend": error_of(lambda: client.videos.extend(prompt="more", seconds="4", video=b"v")),
        "character": error_of(lambda: client.videos.create_character(name="cat", video=b"v" * 100_000)),
    }
    found["first"] = [video.id, second.id]
    return found


async def at_once(count: int) -> dict[str, Any]:
    """The asynchronous client."""
    async with AsyncOpenAI(base_url=BASE, api_key=os.environ["OPENV_API_KEY"]) as client:
        how = {"prompt": "a corgi", "size": "384x384", "extra_body": SMALL}
        videos = await asyncio.gather(*(client.videos.create_and_poll(**how) for _ in range(count)))
        return {"together": [[one.id, one.status, one.progress] for one in videos]}


if __name__ == "__main__":
    told = run(OpenAI(base_url=BASE, api_key=os.environ["OPENV_API_KEY"])) | asyncio.run(at_once(2))
    sys.stdout.write(json.dumps(told))
