"""Frames and close codes: what clients may rely on."""

import json

import pytest

from schemas.api import live
from schemas.api.live import CLOSE_WORDS, AuthFrame, BadFrame, CloseCode, PingFrame, PongFrame, SubscribeFrame
from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_has_words_that_fit_into_a_close_frame(code: CloseCode) -> None:
    assert 0 < len(CLOSE_WORDS[code].encode()) <= 123
    assert live.may_reconnect(code) == (code < 4500)


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1009, 1011, 1012])
def test_codes_of_the_transport_are_worth_another_try(code: int) -> None:
    assert live.may_reconnect(code)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"auth","token":"t"}', AuthFrame(type="auth", token="t")),
        ('{"type":"auth"}', AuthFrame(type="auth")),
        ('{"type":"auth","token":null,"more":1}', AuthFrame(type="auth")),
        ('{"type":"subscribe"}', SubscribeFrame(type="subscribe")),
        (
            '{"type":"subscribe","position":"1:2:3","jobId":"j"}',
            SubscribeFrame(type="subscribe", position="1:2:3", job_id="j"),
        ),
        ('{"type":"ping"}', PingFrame(type="ping")),
        ('{"type":"pong"}', PongFrame(type="pong")),
    ],
)
def test_a_clients_frames_are_read(text: str, frame: live.ClientFrame) -> None:
    assert live.read_client_frame(text) == frame


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "1",
        "{}",
        '{"type":"shout"}',
        '{"type":1}',
        '{"type":"auth","token":7}',
        '{"type":"subscribe","position":7}',
        '{"type":"subscribe","position":"' + "9" * 101 + '"}',
        "{" * 5000,
        '{"type":"auth","token":"' + "s3cret" * 2_000 + '"}',
    ],
)
def test_anything_else_is_refused_in_words_that_do_not_quote_it(text: str) -> None:
    read = live.read_client_frame(text)
    assert isinstance(read, BadFrame)
    assert read.reason
    assert "s3cret" not in read.reason


def test_frames_are_the_stored_bytes_in_an_envelope() -> None:
    stored = '{"jobId":"j","prompt":"größe \\"quoted\\""}'.encode()
    frame = json.loads(live.event("dev.openv.job.queued.v1", "3:14:00ff00ff", stored))
    assert frame == {
        "type": "event",
        "event": "dev.openv.job.queued.v1",
        "position": "3:14:00ff00ff",
        "data": json.loads(stored),
    }
    assert json.loads(live.progress(AttemptProgress.TYPE, b'{"step":1}')) == {"type": "progress", "data": {"step": 1}}
    assert json.loads(live.progress(AttemptPreview.TYPE, b"{}"))["type"] == "preview"
    assert json.loads(live.progress(QueuePlace.TYPE, b"{}"))["type"] == "place"


def test_types_that_are_no_progress_are_refused() -> None:
    with pytest.raises(KeyError):
        live.progress("dev.openv.job.queued.v1", b"{}")


def test_a_binary_preview_is_its_header_and_the_picture() -> None:
    message = live.binary_preview(live.progress(AttemptPreview.TYPE, b'{"step":1,"jpeg":"/9j/"}'))
    assert message is not None
    length = int.from_bytes(message[:4], "big")
    assert json.loads(message[4 : 4 + length]) == {"type": "preview", "data": {"step": 1}}
    assert message[4 + length :] == b"\xff\xd8\xff"


@pytest.mark.parametrize("data", [b'{"step":1}', b'{"jpeg":"no base64"}', b'{"jpeg":7}'])
def test_a_preview_without_a_picture_is_none(data: bytes) -> None:
    assert live.binary_preview(live.progress(AttemptPreview.TYPE, data)) is None


def test_the_other_frames() -> None:
    assert json.loads(live.welcome("u", 20_000)) == {"type": "welcome", "userId": "u", "heartbeatMs": 20_000}
    assert json.loads(live.snapshot([{"jobId": "j"}], None)) == {
        "type": "snapshot",
        "recovered": False,
        "jobs": [{"jobId": "j"}],
    }
    assert json.loads(live.snapshot([], "1:2:3"))["position"] == "1:2:3"
    # A resumed frame must carry no position: its client has not seen the missed events yet.
    assert json.loads(live.resumed()) == {"type": "resumed", "recovered": True}
    assert json.loads(live.ping("1:2:3")) == {"type": "ping", "position": "1:2:3"}
    assert json.loads(live.ping(None)) == {"type": "ping"}
    assert json.loads(live.pong()) == {"type": "pong"}
    assert json.loads(live.error("bad", "why")) == {"type": "error", "code": "bad", "message": "why"}
