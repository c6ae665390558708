"""Dead letters that a replay takes with them: it is noted of each that it went, as a redrive notes it.

A letter is noted before it is sent, under the replay's id, whose checkpoint says whether it is written: so one that was
killed in between leaves nothing unclear, and who goes on notes the same again.
"""

from operations.audit.recording import Actor
from operations.core.replay_records import Readable, Written
from operations.replay.sinks import Ends, Sink
from repo.clock import now_ms
from repo.letters import DispositionStore
from schemas.dispositions import Disposition, Fate


class NotingSink:
    """Before each bundle of another sink: what became of its letters. ``put`` is given the letters where they lie."""

    def __init__(self, sink: Sink, store: DispositionStore, replay_id: str, actor: Actor) -> None:
        self._sink = sink
        self._store = store
        self._replay_id = replay_id
        self._actor = actor
        self._open: list[Disposition] = []

    def put(self, record: Readable, judged: Written, partition: int) -> None:
        """See ``Sink.put``."""
        self._sink.put(record, judged, partition)
        note = Disposition(
            letter=f"{partition}:{record.offset}",
            letter_at=record.timestamp,
            fate=Fate.REDRIVEN,
            at=now_ms(),
            actor=self._actor.name,
            replay_id=self._replay_id,
        )
        self._open.append(note)

    async def send(self) -> object:
        """See ``Sink.send``."""
        opened, self._open = self._open, []
        if opened:
            # Whoever replays by a scope means all that is in it; the sieve has left out what must stay as it is.
            await self._store.dispose(opened, over=True)
        return await self._sink.send()

    async def durable(self, sent: object) -> Ends:
        """See ``Sink.durable``."""
        return await self._sink.durable(sent)
