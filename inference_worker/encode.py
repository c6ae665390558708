"""Frames to files: H.264 in MP4, a poster and a thumbnail, and small previews.

Chunks are encoded as they come, so only the encoder's own look-ahead is held in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from PIL import Image

from inference_worker.media_file import described
from inference_worker.messages import Media

Frames = NDArray[np.uint8]  # [t, H, W, 3], RGB
Picture = NDArray[np.uint8]  # [H, W, 3], RGB

CRF = "17"
KEY_FRAME_SECONDS = 2  # how far a player must decode to seek
THUMBNAIL_SIDE = 256
THUMBNAIL_QUALITY = 85
POSTER_QUALITY = 90
PREVIEW_SIDE = 256
PREVIEW_QUALITY = 75


def encode(
    chunks: Iterator[Frames], directory: Path, *, fps: int, expected: int, progress: Callable[[int], None]
) -> Media:
    """Write ``video.mp4``, ``poster.jpg`` and ``thumbnail.webp`` into ``directory`` and describe them.

    The pictures show the middle one of the ``expected`` frames (the last one, if fewer come). ``progress`` is told
    how many frames are in the file by now. H.264 with 4:2:0 colour has even sizes only: an odd last row or column is
    cut off. Raises ``ValueError`` for frames that make no video; whatever ``chunks`` or ``progress`` raises passes
    through, and leaves no half-written video behind.
    """
    path = directory / "video.mp4"
    try:
        written = _write_video(chunks, path, fps, expected // 2, progress)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    height, width, _ = written.middle.shape
    poster, thumbnail = directory / "poster.jpg", directory / "thumbnail.webp"
    save_pictures(written.middle, poster, thumbnail)
    return Media(
        video=described(path, "video/mp4"),
        poster=described(poster, "image/jpeg"),
        thumbnail=described(thumbnail, "image/webp"),
        width=width,
        height=height,
        frames=written.frames,
        fps=fps,
        duration=written.frames / fps,
    )


def save_pictures(middle: Picture, poster: Path, thumbnail: Path) -> None:
    """A video's picture in full, and a small one."""
    picture = Image.fromarray(middle)
    picture.save(poster, "JPEG", quality=POSTER_QUALITY, optimize=True)
    _shrunk(picture, THUMBNAIL_SIDE).save(thumbnail, "WEBP", quality=THUMBNAIL_QUALITY)


def preview_jpeg(picture: Picture) -> bytes:
    """A picture as a small JPEG, its longest side 256 pixels at most."""
    out = io.BytesIO()
    _shrunk(Image.fromarray(picture), PREVIEW_SIDE).save(out, "JPEG", quality=PREVIEW_QUALITY)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Written:
    frames: int
    middle: Picture


def _write_video(
    chunks: Iterator[Frames], path: Path, fps: int, middle_at: int, progress: Callable[[int], None]
) -> _Written:
    first = next(chunks, None)
    if first is None:
        raise ValueError("The engine made no frame.")
    height, width = (side // 2 * 2 for side in first.shape[1:3])
    if not (height and width):
        raise ValueError(f"Frames of {first.shape[2]}×{first.shape[1]} pixels are too small for a video.")
    seen = encoded = 0
    middle = first[0, :height, :width]
    # faststart moves the index before the pictures, so that a browser can play while it loads.
    with closing(av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})) as container:
        stream = _add_stream(container, width, height, fps)
        for chunk in chain((first,), chunks):
            for pixels in chunk[:, :height, :width]:
                if seen <= middle_at:
                    middle = pixels
                encoded += sum(1 for _ in _muxed(container, stream, _as_frame(pixels, seen)))
                seen += 1
            progress(encoded)
        for _ in _muxed(container, stream, None):
            encoded += 1
            progress(encoded)
    return _Written(seen, np.ascontiguousarray(middle))


def _add_stream(container: Any, width: int, height: int, fps: int) -> Any:
    stream = container.add_stream("libx264", rate=fps, options={"crf": CRF, "preset": "medium"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.gop_size = fps * KEY_FRAME_SECONDS
    # Left unsaid, players guess by size, and small videos are taken for BT.601.
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.colorspace = Colorspace.ITU709
    context.color_range = ColorRange.MPEG
    return stream


def _muxed(container: Any, stream: Any, frame: av.VideoFrame | None) -> Iterator[None]:
    """Encode a frame (None: what the encoder still holds back) and write each packet as it is done."""
    for packet in stream.codec_context.encode_lazy(frame):
        packet.stream = stream
        container.mux(packet)
        yield


def _as_frame(pixels: Picture, number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        dst_color_primaries=ColorPrimaries.BT709,
        dst_color_trc=ColorTrc.BT709,
    )
    frame.pts = number
    return frame


def _shrunk(picture: Image.Image, longest: int) -> Image.Image:
    """The picture with its longest side ``longest`` at most, never enlarged."""
    small = picture.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return small
