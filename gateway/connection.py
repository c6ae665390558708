"""One HTTP/1.1 connection: uvicorn's, with bounds on a request's head, on how long it may arrive, and in our words.

Uvicorn limits how long an idle connection is kept after an answer, and nothing else: a client that sends its first
head, or a body, a byte now and then would hold a connection for ever. What it reads at once it parses at once, however
many pieces that is made of. Nothing here looks at what a request says.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.lingering import Lingering
from gateway.middleware import HEADERS

HEAD_BYTES = 16 * 1024
HEADERS_MAX = 100
# What arrives is parsed in pieces of this size: what is refused is refused before it is all parsed.
SLICE = 4 * 1024
# Asyncio reads 256 KiB at once, and all of it would be parsed before anybody else gets a turn.
RECEIVE_BYTES = 16 * 1024
# A body may come in so many pieces, and one more for each so many bytes: each costs as much as hundreds of bytes.
PIECES = 512
PIECE_BYTES = 64
# What is left of a body when its answer begins is read if it is no more than this, so that the connection can go on.
LEFT_BYTES = 64 * 1024
_ANSWERED = frozenset({h11.DONE, h11.MUST_CLOSE, h11.CLOSED})
_SENDS = frozenset({h11.SEND_BODY, h11.ERROR})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_WORDS = {
    HTTPStatus.BAD_REQUEST: "This is not an HTTP request that can be read.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"The head of a request may have {HEAD_BYTES} bytes and "
    f"{HEADERS_MAX} fields.",
}


class _Parser(h11.Connection):
    """Counts heads and pieces of bodies, refuses what is too much or ambiguous, and remembers with which status.

    An answer that begins while a large or endless body is still coming ends the connection.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES)
        self.heads = 0
        self.status = HTTPStatus.BAD_REQUEST
        self._ends_soon = True  # whether the body has a length, and a small one
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint in _WORDS:
                self.status = HTTPStatus(error.error_status_hint)
            raise
        if isinstance(event, h11.Request):
            self.heads += 1
            self._begin(event)
            size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
            if len(event.headers) > HEADERS_MAX or size > HEAD_BYTES:
                self.status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                raise h11.RemoteProtocolError("the head is too large", error_status_hint=int(self.status))
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > PIECES + self._bytes // PIECE_BYTES:
                raise h11.RemoteProtocolError("the body comes in crumbs")
        return event

    def send(self, event: Any) -> Any:
        """As h11's; who is answered before its large body was read hears that this was the last answer."""
        if type(event) is h11.Response and self.their_state is h11.SEND_BODY and not self._ends_soon:
            headers = [(name, value) for name, value in event.headers.raw_items() if name.lower() != b"connection"]
            event = h11.Response(
                status_code=event.status_code, headers=[*headers, (b"Connection", b"close")], reason=event.reason
            )
        return super().send(event)

    def _begin(self, request: h11.Request) -> None:
        """A new request. Raises ``RemoteProtocolError`` where two servers may see different ends of its body."""
        self._pieces = self._bytes = 0
        framing = {name: value for name, value in request.headers if name in _FRAMING}
        if len(framing) > 1:  # RFC 9112, section 6.1
            raise h11.RemoteProtocolError("both a length and a transfer coding")
        self._ends_soon = b"transfer-encoding" not in framing and int(framing.get(b"content-length", 0)) <= LEFT_BYTES


class Connection(H11Protocol):
    """Uvicorn's protocol for HTTP/1.1 with a deadline for each head and each body. ``bounded`` names the seconds."""

    head_s = 10.0
    body_s = 60.0
    lingering: Lingering

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _Parser = _Parser()
        self._awaited: tuple[object, int] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if hasattr(transport, "max_size"):  # asyncio's own transports; a WebSocket goes on with the same one
            transport.max_size = RECEIVE_BYTES
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if exc is None and self._is_answered_and_sends():
            self.lingering.take(self.transport)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """The transport closes itself now and takes nothing more, though it may still be writing: who answers hears of
        it at once."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        while data and not self._is_over():
            super().data_received(data[:SLICE])
            data = data[SLICE:]
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's signature
        """Uvicorn's door for what is no request; with an answer under way nothing more can be said."""
        self._refuse(self.conn.status)

    def _refuse(self, status: HTTPStatus) -> None:
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = orjson.dumps({"error": _WORDS[status]})
            named = {**HEADERS, "Content-Type": "application/json", "Content-Length": str(len(body))}
            headers = [(name, value) for name, value in (*named.items(), ("Connection", "close"))]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=status.phrase),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _watch(self) -> None:
        """Set the deadline for what the client still owes: a head, a body, or nothing."""
        if self._is_over():
            self._forget()
            return
        state = self.conn.their_state
        owes = state is h11.SEND_BODY or (state is h11.IDLE and not self._rests())
        owed = (state, self.conn.heads) if owes else None
        if owed == self._awaited:
            return
        self._forget()
        self._awaited = owed
        if owed is not None:
            seconds = self.head_s if state is h11.IDLE else self.body_s
            self._deadline = self.loop.call_later(seconds, self._late)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._awaited = None

    def _is_over(self) -> bool:
        """Whether it is closing, or was handed to the WebSocket protocol."""
        return self.transport.is_closing() or self.transport.get_protocol() is not self

    def _is_answered_and_sends(self) -> bool:
        """Whether the whole answer was written, while the client is in the middle of a body, a head or nonsense."""
        unread = self.conn.their_state in _SENDS or bool(self.conn.trailing_data[0])
        return unread and self.conn.our_state in _ANSWERED

    def _rests(self) -> bool:
        """Between two requests, where nothing of the next has come: uvicorn's own timer ends that."""
        return self.conn.heads > 0 and not self.conn.trailing_data[0]

    def _late(self) -> None:
        if self._is_over():
            return
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()  # it has asked for nothing
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)


def bounded(head_s: float, body_s: float, lingering: Lingering) -> type[Connection]:
    """The protocol with these deadlines: seconds for a head from the connection's begin or, of a later request, from
    its first byte; and for a body from its head. Whoever is answered before that may go on in ``lingering``."""
    return type("Connection", (Connection,), {"head_s": head_s, "body_s": body_s, "lingering": lingering})
