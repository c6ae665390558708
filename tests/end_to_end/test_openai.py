"""OpenAI's own SDKs, unmodified and in processes of their own, make videos on a real stack."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import av
import pytest

from tests.end_to_end.stack import Stack
from tests.sdks.programs import key_of, node, printed_by, python

pytestmark = [pytest.mark.servers, pytest.mark.model, pytest.mark.timeout(600)]


async def told_by(stack: Stack, folder: Path, user: str, command: list[str]) -> dict[str, Any]:
    """What the program says as this user, whose neighbour has no quota."""
    rich, poor, (code, said) = await asyncio.gather(
        stack.new_user(user),
        stack.new_user(f"{user}-poor"),
        stack.command("users", "limit", f"{user}-poor", "--seconds", "0"),
    )
    assert code == 0, said
    told = {"OPENV_URL": stack.url, "OPENV_API_KEY": key_of(rich), "POOR_KEY": key_of(poor)}
    found: dict[str, Any] = json.loads(await printed_by(command, folder, **told))
    return found


def frames_of(content: bytes) -> tuple[int, int, int]:
    """Width, height and number of frames."""
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream))


async def test_the_python_package(stack: Stack, tmp_path: Path) -> None:
    found = await told_by(stack, tmp_path, "oana", python("openai_videos.py"))

    assert found["models"] == ["mochi-1", "sora-2", "sora-2-pro"]
    video, second = found["video"], found["second"]
    assert (video["status"], video["progress"], video["error"]) == ("completed", 100, None)
    assert (video["model"], video["size"], video["seconds"]) == ("mochi-1", "384x384", "0.29")
    assert video["completed_at"] >= video["created_at"]
    assert (second["size"], second["seconds"]) == ("848x480", "4.04")
    whole = (tmp_path / "whole.mp4").read_bytes()
    assert frames_of(whole) == (384, 384, 7)
    assert (tmp_path / "streamed.mp4").read_bytes() == whole
    assert (tmp_path / "thumbnail.webp").read_bytes()[8:12] == b"WEBP"

    assert found["listed"] == found["first"][::-1]
    assert found["oldest first"] == found["first"]
    assert found["unfinished"][:3] == ["ConflictError", 409, "not_ready"]
    assert found["deleted"] == {"id": second["id"], "object": "video.deleted", "deleted": True}
    assert {name: error[:4] for name, error in found["errors"].items()} == {
        "gone": ["NotFoundError", 404, "not_found", None],
        "key": ["AuthenticationError", 401, "invalid_api_key", None],
        "quota": ["RateLimitError", 429, "insufficient_quota", None],
        "seconds": ["BadRequestError", 400, "invalid_value", "seconds"],
        "picture": ["BadRequestError", 400, "invalid_value", "input_reference"],
        "model": ["NotFoundError", 404, "model_not_found", "model"],
        "sprites": ["BadRequestError", 400, "unsupported", "variant"],
        **{name: ["BadRequestError", 400, "unsupported", None] for name in ("remix", "edit", "extend", "character")},
    }
    assert all(error[4] for error in found["errors"].values())
    together = found["together"]
    assert [one[1:] for one in together] == [["completed", 100]] * 2
    assert len({one[0] for one in together}) == 2


async def test_the_npm_package(stack: Stack, tmp_path: Path) -> None:
    found = await told_by(stack, tmp_path, "nils", node("openai_videos.mjs", tmp_path))

    assert found["models"] == ["mochi-1", "sora-2", "sora-2-pro"]
    assert found["created"]["object"] == "video"
    assert found["created"]["status"] in ("queued", "in_progress"), "a worker may have it before the answer is made"
    assert (found["video"]["status"], found["video"]["size"]) == ("completed", "384x384")
    assert frames_of((tmp_path / "whole.mp4").read_bytes()) == (384, 384, 7)
    assert found["listed"] == found["ids"][::-1]
    assert found["deleted"] == {"id": found["ids"][1], "object": "video.deleted", "deleted": True}
    assert {name: error[:4] for name, error in found["errors"].items()} == {
        "gone": ["NotFoundError", 404, "not_found", None],
        "key": ["AuthenticationError", 401, "invalid_api_key", None],
        "quota": ["RateLimitError", 429, "insufficient_quota", None],
        "seconds": ["BadRequestError", 400, "invalid_value", "seconds"],
        "picture": ["BadRequestError", 400, "invalid_value", "input_reference"],
        "remix": ["BadRequestError", 400, "unsupported", None],
    }
