"""Who works: out of the last heartbeats on ``openv.dispatch``. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from schemas.dispatch import WorkerBeat, WorkerGone, WorkerKind, WorkerState
from schemas.slots import slot_of
from streams.core.leases import SILENT_MS


@dataclass(frozen=True, slots=True)
class Heard:
    """A worker as its newest word has it; instants in ms, of the broker.

    ``since``: since when it says the same, as far as was looked back. ``gone``: it said farewell. ``silent``: its lease
    would be over by now.
    """

    pool: str
    worker_id: str
    session: str
    kind: WorkerKind
    state: WorkerState
    heard_at: int
    since: int
    engine: str = ""
    device: str = ""
    job_id: str | None = None
    attempt: int | None = None
    gone: bool = False
    silent: bool = False


def roster(words: Iterable[tuple[int, WorkerBeat | WorkerGone]], now: int) -> tuple[Heard, ...]:
    """Every worker that was heard, by pool and id. ``words`` with the time of their records, in their order."""
    known: dict[tuple[str, str], Heard] = {}
    sequences: dict[tuple[str, str, str], int] = {}
    for at, word in words:
        key = word.pool, word.worker_id
        before = known.get(key)
        newest = sequences.get((*key, word.session), -1)
        # Pings of a slot are in no order with the rest.
        late = word.sequence < newest and slot_of(word.worker_id) is None
        if late or (before is None and isinstance(word, WorkerGone)):
            continue
        sequences[(*key, word.session)] = word.sequence
        if isinstance(word, WorkerBeat):
            known[key] = _beat(before, word, at)
        elif before is not None and before.session == word.session:
            known[key] = replace(before, gone=True, heard_at=at, since=at, job_id=None, attempt=None)
    return tuple(_judged(known[key], now) for key in sorted(known))


def _beat(before: Heard | None, beat: WorkerBeat, at: int) -> Heard:
    heard = Heard(
        beat.pool,
        beat.worker_id,
        beat.session,
        beat.kind,
        beat.state,
        at,
        at,
        beat.engine,
        beat.device,
        beat.job_id,
        beat.attempt,
    )
    same = before is not None and not before.gone and _does(before) == _does(heard)
    return replace(heard, since=before.since) if before is not None and same else heard


def _does(heard: Heard) -> tuple[object, ...]:
    return heard.session, heard.state, heard.job_id, heard.attempt


def _judged(heard: Heard, now: int) -> Heard:
    return replace(heard, silent=not heard.gone and now - heard.heard_at >= SILENT_MS[heard.kind])
