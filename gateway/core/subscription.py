"""One watcher (a socket, an event stream): from its first message to its end. No I/O, no clock; frames wait in its
outbox.

The table says which input does what in which phase; an input without a row is ignored there (an event that was on its
way when the socket closed). Three things are not in the table, because they may happen in any act, and all of them end
in CLOSED: the outbox overflows (SLOW), the buffer of a catch-up overflows (SLOW), too many bad messages (PROTOCOL).

Catching up is what makes a resume whole: from ``Asked`` on, live events are buffered; when the replay or the snapshot
is there, it goes first, and the buffered events follow, without those that it already contains (by offset, and by
version for what a snapshot read after its position). Repeats of what this watcher was shown are dropped by
(job id, version) for ever after, since the ledger may announce the same document again.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

from gateway.core.frame import Frame, PreviewFrame
from gateway.core.inputs import (
    Asked,
    Beat,
    Ended,
    Event,
    Expiring,
    Granted,
    Input,
    Mistake,
    Pinged,
    Progress,
    Resumed,
    Shown,
)
from gateway.core.outbox import Outbox
from gateway.core.window import Entry
from schemas.api import live
from schemas.api.live import CloseCode, Previews

MISTAKES_MAX = 5
VERSIONS_MAX = 4096


class Phase(StrEnum):
    AWAITING_AUTH = "awaiting_auth"
    AUTHENTICATED = "authenticated"
    CATCHING_UP = "catching_up"
    LIVE = "live"
    CLOSED = "closed"


class Act(StrEnum):
    WELCOME = "welcome"  # answer who the user is
    RENEW = "renew"  # the same user showed a key again
    REFUSE = "refuse"  # anything but auth comes first: UNAUTHORIZED
    BEGIN = "begin"  # start (again) to buffer
    BUFFER = "buffer"  # keep a live event until the replay is there
    REPLAY = "replay"  # replay, then what was buffered
    SHOW = "show"  # snapshot, then what was buffered
    SEND = "send"  # queue a live event
    CONFLATE = "conflate"  # let the newest progress wait
    PONG = "pong"
    BEAT = "beat"  # ping without a position: events may be on their way
    BEAT_AT = "beat_at"  # ping with the position: all before it was queued before this ping
    WARN = "warn"  # say that the credential ends
    COMPLAIN = "complain"  # error frame
    END = "end"


P, A = Phase, Act

TABLE: Mapping[Phase, Mapping[type[Input], tuple[Act, Phase]]] = MappingProxyType(
    {
        P.AWAITING_AUTH: {
            Granted: (A.WELCOME, P.AUTHENTICATED),
            Asked: (A.REFUSE, P.CLOSED),
            Pinged: (A.REFUSE, P.CLOSED),
            Mistake: (A.REFUSE, P.CLOSED),
            Ended: (A.END, P.CLOSED),
        },
        P.AUTHENTICATED: {
            Granted: (A.RENEW, P.AUTHENTICATED),
            Asked: (A.BEGIN, P.CATCHING_UP),
            Pinged: (A.PONG, P.AUTHENTICATED),
            Beat: (A.BEAT, P.AUTHENTICATED),
            Expiring: (A.WARN, P.AUTHENTICATED),
            Mistake: (A.COMPLAIN, P.AUTHENTICATED),
            Ended: (A.END, P.CLOSED),
        },
        P.CATCHING_UP: {
            Granted: (A.RENEW, P.CATCHING_UP),
            Asked: (A.BEGIN, P.CATCHING_UP),
            Resumed: (A.REPLAY, P.LIVE),
            Shown: (A.SHOW, P.LIVE),
            Event: (A.BUFFER, P.CATCHING_UP),
            Pinged: (A.PONG, P.CATCHING_UP),
            Beat: (A.BEAT, P.CATCHING_UP),
            Expiring: (A.WARN, P.CATCHING_UP),
            Mistake: (A.COMPLAIN, P.CATCHING_UP),
            Ended: (A.END, P.CLOSED),
        },
        P.LIVE: {
            Granted: (A.RENEW, P.LIVE),
            Asked: (A.BEGIN, P.CATCHING_UP),
            Event: (A.SEND, P.LIVE),
            Progress: (A.CONFLATE, P.LIVE),
            Pinged: (A.PONG, P.LIVE),
            Beat: (A.BEAT_AT, P.LIVE),
            Expiring: (A.WARN, P.LIVE),
            Mistake: (A.COMPLAIN, P.LIVE),
            Ended: (A.END, P.CLOSED),
        },
        P.CLOSED: {},
    }
)


class Subscription:
    """Give it inputs with ``receive``; write what ``take`` returns until ``closing`` is set and ``take`` is empty."""

    __slots__ = (
        "_buffer", "_buffer_max", "_job_id", "_mistakes", "_outbox", "_previews", "_rows", "_versions",
        "closing", "phase", "user_id",
    )  # fmt: skip

    def __init__(self, outbox: Outbox, buffer_max: int) -> None:
        self.closing: CloseCode | None = None
        self.user_id: str | None = None
        self._outbox = outbox
        self._buffer_max = buffer_max
        self._buffer: list[Event] = []
        self._job_id: str | None = None
        self._previews = Previews.JSON
        self._versions: dict[str, int] = {}
        self._mistakes = 0
        self._enter(Phase.AWAITING_AUTH)

    def receive(self, happened: Input) -> None:
        """One input; afterwards look at ``take`` and ``closing``."""
        row = self._rows.get(type(happened))
        if row is None:
            return
        act, phase = row
        if phase is not self.phase:
            self._enter(phase)
        act(self, happened)

    def take(self, max_bytes: int) -> list[Frame]:
        """The next frames to write in one go: about so many bytes."""
        return self._outbox.take(max_bytes)

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that it had better be written before more comes."""
        return self._outbox.is_crowded

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._rows = self._ROWS[phase]

    def wants(self, job_id: str) -> bool:
        """Whether the subscription covers this job."""
        return self._job_id is None or self._job_id == job_id

    def _end(self, code: CloseCode) -> None:
        self._enter(Phase.CLOSED)
        self.closing = code
        self._buffer.clear()
        self._versions.clear()

    def _put(self, frame: Frame, *, whole: bool = False) -> None:
        if self.phase is not Phase.CLOSED and not self._outbox.put(frame, whole=whole):
            self._outbox.clear()
            self._end(CloseCode.SLOW)

    def _welcome(self, it: Granted) -> None:
        self.user_id = it.user_id
        self._put(Frame("welcome", live.welcome(it.user_id, it.heartbeat_ms, it.expires_in_ms)))

    def _renew(self, it: Granted) -> None:
        if it.user_id != self.user_id:
            self._end(CloseCode.UNAUTHORIZED)
        else:
            self._welcome(it)

    def _refuse(self, _: Input) -> None:
        self._end(CloseCode.UNAUTHORIZED)

    def _begin(self, it: Asked) -> None:
        self._buffer.clear()
        self._versions.clear()
        self._job_id = it.job_id
        self._previews = it.previews

    def _keep(self, it: Event) -> None:
        self._buffer.append(it)
        if len(self._buffer) > self._buffer_max:
            self._end(CloseCode.SLOW)

    def _replay(self, it: Resumed) -> None:
        head = it.replay.head
        self._put(Frame("resumed", live.resumed()), whole=True)
        for entry in it.replay.entries:
            if entry.event is not None:
                self._send(Event(entry, event_frame(entry)), whole=True)
        self._flush(head.offset)

    def _show(self, it: Shown) -> None:
        position = str(it.position) if it.position else None
        self._put(Frame("snapshot", live.snapshot(it.jobs, position), position), whole=True)
        self._versions.update(it.versions)
        self._flush(it.position.offset if it.position else -1)

    def _flush(self, known_up_to: int) -> None:
        buffered, self._buffer = self._buffer, []
        for event in buffered:
            if event.entry.cursor.offset > known_up_to:
                self._send(event)

    def _send(self, it: Event, *, whole: bool = False) -> None:
        event = it.entry.event
        if event is None or not self.wants(event.job_id) or event.version <= self._versions.get(event.job_id, 0):
            return
        self._versions.pop(event.job_id, None)
        self._versions[event.job_id] = event.version
        if len(self._versions) > VERSIONS_MAX:
            del self._versions[next(iter(self._versions))]
        self._outbox.supersede(event.job_id)
        self._put(it.frame, whole=whole)

    def _conflate(self, it: Progress) -> None:
        frame: Frame | None = it.frame
        if isinstance(frame, PreviewFrame) and self._previews is not Previews.JSON:
            frame = frame.binary if self._previews is Previews.BINARY else None
        if frame is not None and self.wants(it.job_id):
            self._outbox.conflate(it.job_id, it.kind, frame)

    def _pong(self, _: Pinged) -> None:
        self._put(Frame("pong", live.pong()))

    def _beat(self, _: Beat) -> None:
        self._put(Frame("ping", live.ping(None)))

    def _beat_at(self, it: Beat) -> None:
        position = str(it.head) if it.head else None
        self._put(Frame("ping", live.ping(position), position))

    def _warn(self, it: Expiring) -> None:
        self._put(Frame("expiring", live.expiring(it.in_ms)))

    def _complain(self, it: Mistake) -> None:
        self._put(Frame("error", live.error(it.code, it.message)))
        self._mistakes += 1
        if self._mistakes >= MISTAKES_MAX:
            self._end(CloseCode.PROTOCOL)

    def _ended(self, it: Ended) -> None:
        self._end(it.code)

    _ACTS: ClassVar[Mapping[Act, Any]] = MappingProxyType(
        {
            Act.WELCOME: _welcome,
            Act.RENEW: _renew,
            Act.REFUSE: _refuse,
            Act.BEGIN: _begin,
            Act.BUFFER: _keep,
            Act.REPLAY: _replay,
            Act.SHOW: _show,
            Act.SEND: _send,
            Act.CONFLATE: _conflate,
            Act.PONG: _pong,
            Act.BEAT: _beat,
            Act.BEAT_AT: _beat_at,
            Act.WARN: _warn,
            Act.COMPLAIN: _complain,
            Act.END: _ended,
        }
    )
    # The table with the functions in the places of the acts: looked up for every event of every watcher.
    _ROWS: ClassVar[Mapping[Phase, Mapping[type[Input], tuple[Any, Phase]]]] = MappingProxyType(
        {
            phase: {of: (acts[act], then) for of, (act, then) in rows.items()}
            for acts in (_ACTS,)
            for phase, rows in TABLE.items()
        }
    )


def event_frame(entry: Entry) -> Frame:
    """The frame of a job event; ValueError for a record that is none."""
    if entry.event is None:
        raise ValueError("not a job event")
    position = str(entry.cursor)
    return Frame("event", live.event(entry.event.event_type, position, entry.event.value), position)
