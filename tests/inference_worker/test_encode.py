"""What the files say when other programs open them."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from inference_worker.encode import Frames, encode, preview_jpeg
from inference_worker.messages import Media

RED, BLUE = (255, 0, 0), (0, 0, 255)
BT709 = 1  # ISO/IEC 23091-2, the code of all three: primaries, transfer, matrix
LIMITED = 1  # libav's name for 16–235


def moving(count: int, height: int, width: int) -> Frames:
    """Red above, blue below, a white bar that walks to the right: one column a frame."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:, : height // 2] = RED
    frames[:, height // 2 :] = BLUE
    for number in range(count):
        frames[number, :, number : number + 8] = 255
    return frames


def opened(path: Path) -> Image.Image:
    """The picture, read whole: its file is closed again."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def encoded(frames: Frames, directory: Path, *, fps: int = 24, expected: int | None = None) -> tuple[Media, list[int]]:
    told: list[int] = []
    chunks = iter([frames[:1], *np.array_split(frames[1:], 3)])
    media = encode(chunks, directory, fps=fps, expected=expected or len(frames), progress=told.append)
    return media, told


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Media, list[int]]:
    return encoded(moving(31, 96, 160), tmp_path_factory.mktemp("made"))


def test_size_length_and_rate_are_those_asked_for(made: tuple[Media, list[int]]) -> None:
    media, _ = made
    assert (media.width, media.height, media.frames, media.fps) == (160, 96, 31, 24)
    assert media.duration == pytest.approx(31 / 24)
    with av.open(str(media.video.path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (160, 96)
        assert stream.average_rate == 24
        assert stream.frames == 31
        assert float(stream.duration * stream.time_base) == pytest.approx(media.duration)
        assert [frame.pts * frame.time_base for frame in container.decode(stream)] == [
            pytest.approx(number / 24) for number in range(31)
        ]


def test_colours_are_bt709_in_name_and_in_fact(made: tuple[Media, list[int]]) -> None:
    with av.open(str(made[0].video.path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (BT709, BT709, BT709)
        assert context.color_range == LIMITED
        luma = next(container.decode(video=0)).to_ndarray()
    # ITU-R BT.709: Y = 16 + 219·(0.2126 R + 0.7152 G + 0.0722 B); BT.601 would make red 81 and blue 41.
    assert luma[20, 100] == pytest.approx(63, abs=2)
    assert luma[80, 100] == pytest.approx(32, abs=2)
    assert b"colrnclx\x00\x01\x00\x01\x00\x01" in made[0].video.path.read_bytes()


def test_the_index_stands_before_the_pictures(made: tuple[Media, list[int]]) -> None:
    data = made[0].video.path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_frames_come_in_order_and_look_like_what_was_given(made: tuple[Media, list[int]]) -> None:
    source = moving(31, 96, 160)
    with av.open(str(made[0].video.path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            grey = frame.to_ndarray()[:96].astype(int)
            bar = slice(number + 1, number + 7)
            assert grey[:, bar].mean() > 200
            assert source[number, 0, number].tolist() == [255, 255, 255]


def test_pictures_show_the_middle_frame(made: tuple[Media, list[int]]) -> None:
    media, _ = made
    middle = moving(31, 96, 160)[15].astype(int)
    poster, thumbnail = opened(media.poster.path), opened(media.thumbnail.path)
    assert (poster.format, poster.size) == ("JPEG", (160, 96))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (160, 96))
    for picture in (poster, thumbnail):
        shown = np.asarray(picture.convert("RGB")).astype(int)
        assert np.abs(shown[:, 16:22] - middle[:, 16:22]).mean() < 20
        assert np.abs(shown - middle).mean() < 20


def test_a_thumbnail_is_256_at_its_longest(tmp_path: Path) -> None:
    media, _ = encoded(moving(7, 848, 480), tmp_path)
    assert opened(media.thumbnail.path).size == (145, 256)
    assert opened(media.poster.path).size == (480, 848)


def test_bytes_and_digest_are_those_of_the_files(made: tuple[Media, list[int]]) -> None:
    for file in (made[0].video, made[0].poster, made[0].thumbnail):
        data = file.path.read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [made[0].video.media_type, made[0].poster.media_type, made[0].thumbnail.media_type] == [
        "video/mp4",
        "image/jpeg",
        "image/webp",
    ]


def test_progress_never_falls_and_ends_at_the_last_frame(made: tuple[Media, list[int]]) -> None:
    told = made[1]
    assert told == sorted(told)
    assert told[-1] == 31
    assert len(told) > 4


def test_an_odd_size_loses_its_last_row_and_column(tmp_path: Path) -> None:
    media, _ = encoded(moving(7, 65, 97), tmp_path)
    assert (media.width, media.height) == (96, 64)
    with av.open(str(media.video.path)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (96, 64)


def test_another_rate(tmp_path: Path) -> None:
    media, _ = encoded(moving(13, 64, 64), tmp_path, fps=30)
    with av.open(str(media.video.path)) as container:
        assert container.streams.video[0].average_rate == 30
    assert media.duration == pytest.approx(13 / 30)


def test_fewer_frames_than_expected_still_have_pictures(tmp_path: Path) -> None:
    media, _ = encoded(moving(7, 64, 64), tmp_path, expected=127)
    assert media.frames == 7
    assert np.asarray(opened(media.poster.path).convert("L"))[:, 6:14].mean() > 200


def test_no_frame_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frame"):
        encode(iter([]), tmp_path, fps=24, expected=7, progress=lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("good_frames", [0, 1, 50])
def test_an_error_on_the_way_passes_through_and_leaves_no_file(tmp_path: Path, good_frames: int) -> None:
    def chunks() -> Iterator[Frames]:
        if good_frames:
            yield moving(good_frames, 64, 128)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        encode(chunks(), tmp_path, fps=24, expected=31, progress=lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("given", "shown"), [((60, 106), (106, 60)), ((480, 848), (256, 145))])
def test_a_preview_is_a_small_jpeg_and_never_enlarged(given: tuple[int, int], shown: tuple[int, int]) -> None:
    picture = Image.open(io.BytesIO(preview_jpeg(np.full((*given, 3), 200, np.uint8))))
    assert (picture.format, picture.size) == ("JPEG", shown)
    assert np.asarray(picture).mean() == pytest.approx(200, abs=3)
