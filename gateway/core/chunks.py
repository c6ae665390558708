"""The next version of what a job has streamed: with one chunk more, or with all of them taken."""

from dataclasses import replace

from schemas.chunks import CHUNKS_BYTES, CHUNKS_COUNT, TAIL_BYTES, TAIL_COUNT, Bundle, Chunks


class Stale(Exception):
    """A newer attempt streams already."""


class Full(Exception):
    """Too much waits to be taken."""


def appended(known: Chunks | None, job_id: str, attempt: int, text: str, delete_at: int, writer: str = "") -> Chunks:
    """``text`` is ASCII; ``writer`` is new for every chunk (``schemas/chunks.py``). What an earlier attempt left
    is dropped. Raises ``Stale`` and ``Full``."""
    if known is None:
        first = Chunks(job_id=job_id, attempt=attempt, version=1, delete_at=delete_at, waiting=(text,))
        return replace(first, writer=writer, origin=writer)
    if known.attempt > attempt:
        raise Stale
    if known.attempt < attempt:
        mine = replace(_emptied(known), attempt=attempt, taken=0)
    elif known.bytes + len(text) > CHUNKS_BYTES or known.count >= CHUNKS_COUNT:
        raise Full
    else:
        mine = _bundled(known) if _is_long(known.waiting, text) else known
    return replace(mine, version=known.version + 1, delete_at=delete_at, waiting=(*mine.waiting, text), writer=writer)


def taken(known: Chunks, writer: str) -> Chunks:
    """``writer`` is new for everyone who takes, and every time."""
    return replace(_emptied(known), version=known.version + 1, taken=known.taken + known.count, writer=writer)


def bundle_for(known: Chunks | None, wanted: Chunks) -> Bundle | None:
    """What must be stored before ``wanted`` is: the chunks that were ``known``'s own and are not in it any more."""
    if known is None or len(wanted.bundled) <= len(known.bundled):
        return None
    return Bundle(bundle_id=wanted.bundle_ids[-1], job_id=known.job_id, delete_at=wanted.delete_at, texts=known.waiting)


def left_behind(known: Chunks | None, wanted: Chunks) -> tuple[str, ...]:
    """The bundles that nobody needs once ``wanted`` is stored."""
    return () if known is None or wanted.bundled else known.bundle_ids


def _is_long(waiting: tuple[str, ...], text: str) -> bool:
    return bool(waiting) and (len(waiting) >= TAIL_COUNT or sum(map(len, waiting)) + len(text) > TAIL_BYTES)


def _bundled(known: Chunks) -> Chunks:
    return replace(
        known,
        waiting=(),
        bundled=(*known.bundled, known.version),
        bundled_bytes=known.bytes,
        bundled_count=known.count,
    )


def _emptied(known: Chunks) -> Chunks:
    return replace(known, waiting=(), bundled=(), bundled_bytes=0, bundled_count=0)
