"""``openv generate`` before it asks for anything."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from operations.client import Endpoint, OpenVClient, RefusedError
from operations.generate import generate, rounded_in_words


async def test_a_folder_that_is_not_there_is_said_before_a_video_is_asked_for(tmp_path: Path) -> None:
    async with OpenVClient(Endpoint("http://127.0.0.1:1", "k")) as client:
        with pytest.raises(RefusedError, match="There is no folder"):
            await generate(client, {"prompt": "a"}, tmp_path / "nowhere" / "a.mp4", Console(quiet=True))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"prompt": "a"}, ""),
        ({"prompt": "a", "width": 496, "num_frames": 7}, ""),
        (
            {"width": 500, "num_frames": 8},
            "Made with width 496, not 500; frames 7, not 8: sizes are multiples of 16, lengths 7, 13, 19 … 127 frames.",
        ),
    ],
)
def test_what_was_rounded_is_said(body: dict[str, Any], says: str) -> None:
    assert rounded_in_words(body, {"jobId": "j", "width": 496, "height": 480, "frames": 7}) == says
    assert rounded_in_words(body, {"jobId": "j", "status": "queued"}) == ""
