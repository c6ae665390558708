"""``python -m inference_worker.remote.pictures FOLDER``: is ``video.mp4`` there a video? Then its poster and thumbnail.

A process of its own, because what it decodes comes from strangers: it may crash, hang or eat memory, and the worker
goes on. It reads MP4 and its kin only, from that one file, and prints what it found as one line of JSON; exit code 3
with a sentence where it is no video, 4 with a sentence where this machine could not look at it.
"""

import json
import resource
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

MEMORY_MAX = 4 * 1024**3  # bytes
CPU_MAX_S = 300
SIDE_MAX = 8192
NO_VIDEO, NOT_LOOKED_AT = 3, 4
VIDEO, POSTER, THUMBNAIL = "video.mp4", "poster.jpg", "thumbnail.webp"


class NoVideo(Exception):
    """Why not, in words."""


def look(folder: Path) -> dict[str, Any]:
    """Write poster and thumbnail beside the video. Returns width, height, frames, fps. Raises ``NoVideo``."""
    import av

    from inference_worker.encode import save_pictures

    try:
        frames, fps = _counted(folder / VIDEO)
        picture = _frame(folder / VIDEO, frames // 2)
    except MemoryError:  # FFmpeg's own is one too
        raise
    except (av.FFmpegError, ValueError, OverflowError, ZeroDivisionError):
        raise NoVideo("it can't be read as a video") from None
    save_pictures(picture, folder / POSTER, folder / THUMBNAIL)
    height, width = picture.shape[:2]
    return {"width": int(width), "height": int(height), "frames": frames, "fps": float(fps)}


def _counted(path: Path) -> tuple[int, Fraction]:
    """How many frames are in it, and how many are shown in a second."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        if max(stream.width, stream.height) > SIDE_MAX:
            raise NoVideo(f"a side is longer than {SIDE_MAX} pixels")
        frames = sum(1 for packet in container.demux(stream) if packet.size)
        fps = stream.average_rate or stream.guessed_rate
    if not frames or not fps:
        raise NoVideo("it has no frames")
    return frames, fps


def _frame(path: Path, number: int) -> Any:
    """One frame as RGB; the last that can be decoded, where there are fewer."""
    found = None
    with _opened(path) as container:
        for index, frame in enumerate(container.decode(container.streams.video[0])):
            found = frame
            if index >= number:
                break
    if found is None:
        raise NoVideo("no frame of it can be decoded")
    return found.to_ndarray(format="rgb24")


def _opened(path: Path) -> Any:
    """Forced to be MP4: other formats are lists of further files and addresses."""
    import av

    container = av.open(str(path), format="mp4", options={"protocol_whitelist": "file"})
    if not container.streams.video:
        container.close()
        raise NoVideo("there is no picture in it")
    return container


def main(folder: str) -> int:
    """The exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    # The kernel ends it by SIGXCPU at the first, so that it can be told from being killed for want of memory.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        found = look(Path(folder))
    except NoVideo as reason:
        sys.stdout.write(str(reason))
        return NO_VIDEO
    except MemoryError:
        sys.stdout.write("there was not enough memory")
        return NOT_LOOKED_AT
    except OSError as error:
        sys.stdout.write(f"its pictures could not be written: {error.strerror or type(error).__name__}")
        return NOT_LOOKED_AT
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
