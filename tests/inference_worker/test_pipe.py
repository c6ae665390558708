"""Frames survive any cut; what is no frame is a clear error that quotes no prompt."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_worker.messages import (
    AttemptStopped,
    Done,
    Exit,
    Failed,
    Generate,
    Heartbeat,
    Loading,
    Media,
    MediaFile,
    PipeMessage,
    Preview,
    Progress,
    Ready,
    Stop,
    Unloadable,
)
from inference_worker.pipe import BODY_MAX, HEADER_MAX, MAGIC, BadFrame, FrameReader, to_frame
from schemas.failures import FailureCode
from schemas.phases import Phase
from schemas.requests import GenerationRequest

texts = st.text(st.characters(codec="utf-8"), max_size=40)
counts = st.integers(0, 2**31)
names = {"job_id": texts, "attempt": counts}
paths = st.from_regex(r"/[a-z0-9/]{0,20}", fullmatch=True).map(Path)
codes = st.sampled_from(FailureCode)
requests = st.builds(
    GenerationRequest,
    prompt=texts,
    negative_prompt=texts,
    seed=counts,
    cfg=st.floats(1, 20),
    input=st.none() | texts,
)
files = st.builds(MediaFile, path=paths, bytes=counts, sha256=texts, media_type=texts)
media = st.builds(
    Media,
    video=files,
    poster=files,
    thumbnail=files,
    width=counts,
    height=counts,
    frames=counts,
    fps=counts,
    duration=st.floats(0, 100),
)
messages = st.one_of(
    st.builds(Generate, **names, request=requests, directory=paths),
    st.builds(Stop, **names),
    st.builds(Exit),
    st.builds(Loading, engine=texts, step=counts, steps=counts),
    st.builds(Ready, engine=texts, device=texts),
    st.builds(Unloadable, engine=texts, code=codes, message=texts),
    st.builds(Heartbeat, progress=counts),
    st.builds(
        Progress,
        **names,
        phase=st.sampled_from(Phase),
        step=counts,
        steps=counts,
        elapsed_ms=counts,
        phase_ms=counts,
    ),
    st.builds(Preview, **names, step=counts, steps=counts, jpeg=st.binary(max_size=300)),
    st.builds(Done, **names, media=media),
    st.builds(Failed, **names, code=codes, message=texts),
    st.builds(AttemptStopped, **names),
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_any_messages_survive_any_cut(sent: list[PipeMessage], sizes: list[int]) -> None:
    data = b"".join(map(to_frame, sent))
    reader, read, at, turn = FrameReader(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        read += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert read == sent
    assert reader.pending == 0


@given(st.binary(min_size=4).filter(lambda data: not data.startswith(MAGIC)))
def test_garbage_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(BadFrame, match="Expected a frame"):
        FrameReader().feed(data)


@given(messages, st.data())
def test_a_damaged_frame_never_raises_anything_else(message: PipeMessage, data: st.DataObject) -> None:
    frame = bytearray(to_frame(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(BadFrame):
        FrameReader().feed(bytes(frame))


@pytest.mark.parametrize(("header", "body"), [(HEADER_MAX + 1, 0), (2, BODY_MAX + 1)])
def test_a_length_beyond_the_limit_is_refused_before_anything_is_kept(header: int, body: int) -> None:
    prefix = MAGIC + header.to_bytes(4, "big") + body.to_bytes(4, "big")
    with pytest.raises(BadFrame, match="over the limit"):
        FrameReader().feed(prefix)


def frame_of(header: bytes, body: bytes = b"") -> bytes:
    return MAGIC + len(header).to_bytes(4, "big") + len(body).to_bytes(4, "big") + header + body


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"type":"Nobody"}',
        b'{"type":[]}',
        b'{"type":"Stop"}',
        b'{"type":"Stop","jobId":1}',
    ],
)
def test_a_header_that_is_no_message_is_refused(header: bytes) -> None:
    with pytest.raises(BadFrame, match="A message on the pipe"):
        FrameReader().feed(frame_of(header))


def test_only_a_preview_has_a_body() -> None:
    with pytest.raises(BadFrame, match="Exit carries no body"):
        FrameReader().feed(frame_of(b'{"type":"Exit"}', b"x"))


def test_the_error_about_a_bad_generate_does_not_quote_the_prompt() -> None:
    header = b'{"type":"Generate","jobId":"j","attempt":"x","request":{"prompt":"my secret","steps":"my secret"}}'
    with pytest.raises(BadFrame) as caught:
        FrameReader().feed(frame_of(header))
    assert "request.steps" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_message_too_large_to_be_read_is_not_sent() -> None:
    with pytest.raises(BadFrame, match="over the limit"):
        to_frame(Preview(job_id="j", attempt=1, step=1, steps=1, jpeg=b"x" * (BODY_MAX + 1)))
