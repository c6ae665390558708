"""A result from where RunPod's worker put it to a finished video on this disk, with its pictures.

Where it lies is a stranger's word: the address is judged, the file bounded, and what it holds is looked at by a process
of its own that has none of our secrets (``pictures.py``).
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from inference_worker.media_file import described
from inference_worker.messages import Media, MediaFile
from inference_worker.remote.desk import Desk
from inference_worker.remote.pictures import NO_VIDEO, NOT_LOOKED_AT, POSTER, THUMBNAIL, VIDEO
from repo.download import NotDownloaded, download
from schemas.failures import FailureCode

TRIES = 4
LOOKS_MOST = 2  # of an attempt at one result, where this machine is at fault
PAUSE_S = 1.0  # doubled each time
LOOK_WITHIN_S = 330.0  # a little more than the CPU time that it may take
TIMED_OUT = -1  # no exit code of a process that we end
OUT_OF_TIME = (TIMED_OUT, -signal.SIGXCPU)
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NotFetched:
    """Why there is no video. ``spent``: it will not come from there, however often it is tried."""

    code: FailureCode
    words: str
    spent: bool


async def fetched(desk: Desk, url: str, folder: Path) -> Media | NotFetched:
    """Raises OSError where it can't be written."""
    for tries in range(TRIES):
        try:
            got = await download(desk.outgoing, desk.rules, url, folder / VIDEO, desk.bounds)
        except NotDownloaded as failure:
            log.warning("result_not_fetched", reason=str(failure), tries=tries + 1)
            if failure.final:
                words = f"RunPod's result could not be used: {failure}."
                return NotFetched(FailureCode.ENGINE_ERROR, words, spent=True)
            words = f"RunPod's result could not be fetched: {failure}."
            given_up = NotFetched(FailureCode.TRANSIENT_ERROR, words, spent=failure.gone)
            await asyncio.sleep(PAUSE_S * 2**tries)
        else:
            file = MediaFile(path=folder / VIDEO, bytes=got.bytes, sha256=got.sha256, media_type="video/mp4")
            async with desk.looks:
                return await _looked_at(folder, file)
    return given_up


async def _looked_at(folder: Path, video: MediaFile) -> Media | NotFetched:
    """Only the looker's own word makes a result useless: whatever else it ended by (a full disk, the kernel short of
    memory, a crash, its time) may not happen again."""
    for looks in range(1, LOOKS_MOST + 1):
        code, said = await _pictures(folder)
        if code == 0:
            return await _described(folder, video, json.loads(said))
        if code == NO_VIDEO:
            log.warning("result_unusable", reason=said)
            return NotFetched(FailureCode.ENGINE_ERROR, f"RunPod's result is no video: {said}.", spent=True)
        reason = said if code == NOT_LOOKED_AT else "the process that looks at it ended early"
        log.warning("result_not_looked_at", reason=reason, exit_code=code, looks=looks)
        if code in OUT_OF_TIME:
            break
        if looks < LOOKS_MOST:
            await asyncio.sleep(PAUSE_S)
    words = f"RunPod's result could not be looked at here: {reason}."
    return NotFetched(FailureCode.TRANSIENT_ERROR, words, spent=False)


async def _described(folder: Path, video: MediaFile, found: dict[str, Any]) -> Media:
    return Media(
        video=video,
        poster=await asyncio.to_thread(described, folder / POSTER, "image/jpeg"),
        thumbnail=await asyncio.to_thread(described, folder / THUMBNAIL, "image/webp"),
        width=found["width"],
        height=found["height"],
        frames=found["frames"],
        fps=found["fps"],
        duration=found["frames"] / found["fps"],
    )


async def _pictures(folder: Path) -> tuple[int, str]:
    """Exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "inference_worker.remote.pictures", str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # ffmpeg's words quote what is in the file
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        process_group=0,
    )
    try:
        async with asyncio.timeout(LOOK_WITHIN_S):
            said, _ = await process.communicate()
    except TimeoutError:
        return TIMED_OUT, ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")
