"""``openv generate`` before it asks for anything."""

from pathlib import Path

import pytest
from rich.console import Console

from operations.client import Endpoint, OpenVClient, RefusedError
from operations.generate import generate


async def test_a_folder_that_is_not_there_is_said_before_a_video_is_asked_for(tmp_path: Path) -> None:
    async with OpenVClient(Endpoint("http://127.0.0.1:1", "k")) as client:
        with pytest.raises(RefusedError, match="There is no folder"):
            await generate(client, {"prompt": "a"}, tmp_path / "nowhere" / "a.mp4", Console(quiet=True))
