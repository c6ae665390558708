"""Frames and their encodings, held against websockets' own reading of them."""

import json

import pytest
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from gateway.core.frame import BinaryFrame, Frame, PreviewFrame
from schemas.api import live
from schemas.api.live import CLOSE_WORDS, CloseCode


def read(data: bytes) -> WebSocketFrame:
    stream = StreamReader()
    stream.feed_data(data)
    parsing = WebSocketFrame.parse(stream.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as end:
        frame: WebSocketFrame = end.value
    assert not stream.buffer  # nothing behind it
    return frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000])
@pytest.mark.parametrize(("made", "opcode"), [(Frame, Opcode.TEXT), (BinaryFrame, Opcode.BINARY)])
def test_a_message_is_one_whole_unmasked_frame(size: int, made: type[Frame], opcode: Opcode) -> None:
    frame = made("event", b"x" * size)
    message = read(frame.message)
    assert (message.opcode, bytes(message.data), message.fin) == (opcode, b"x" * size, True)
    assert frame.message is frame.message  # built once


def test_an_event_has_a_name_an_id_where_there_is_a_position_and_one_line_of_data() -> None:
    assert Frame("ping", b"{}").event == b"event: ping\ndata: {}\n\n"
    assert Frame("ping", b"{}", "0:1:aa").event == b"event: ping\nid: 0:1:aa\ndata: {}\n\n"
    pretty = Frame("event", b'{\r\n  "a":\n\n 1\r}').event
    assert pretty.count(b"\n") == 3
    assert b"\r" not in pretty
    assert json.loads(pretty.split(b"data: ")[1]) == {"a": 1}


def preview(**data: object) -> PreviewFrame:
    return PreviewFrame(json.dumps({"type": "preview", "data": data}).encode())


def test_a_binary_preview_is_a_length_a_header_and_the_picture() -> None:
    frame = preview(jobId="j", step=1, jpeg="/9j/")
    binary = frame.binary
    assert binary is not None
    assert frame.binary is binary
    size = int.from_bytes(binary.text[:4], "big")
    assert json.loads(binary.text[4 : 4 + size]) == {"type": "preview", "data": {"jobId": "j", "step": 1}}
    assert binary.text[4 + size :] == b"\xff\xd8\xff"


@pytest.mark.parametrize("data", [{}, {"jpeg": None}, {"jpeg": "a"}, {"jpeg": "ä==="}, {"jpeg": 5}, {"jpeg": "QQ==\n"}])
def test_a_preview_without_a_picture_has_no_binary_form(data: dict[str, object]) -> None:
    assert preview(**data).binary is None


def test_every_close_code_has_words_that_fit_into_a_close_frame_and_lies_in_its_range() -> None:
    assert set(CLOSE_WORDS) == set(CloseCode)
    for code in CloseCode:
        assert 4000 <= code <= 4999
        assert len(CLOSE_WORDS[code].encode()) <= 123
        said = json.loads(live.close(code))
        assert (said["code"], said["reason"], said["reconnect"]) == (code, CLOSE_WORDS[code], code < 4500)
