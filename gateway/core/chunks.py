"""The next version of what a job has streamed, with one chunk more."""

from dataclasses import replace

from schemas.chunks import CHUNKS_BYTES, CHUNKS_COUNT, Chunks


class Stale(Exception):
    """A newer attempt streams already."""


class Full(Exception):
    """Too much waits to be taken."""


def appended(known: Chunks | None, job_id: str, attempt: int, text: str, delete_at: int, writer: str = "") -> Chunks:
    """``text`` is ASCII; ``writer`` is new for every chunk (``schemas/chunks.py``). What an earlier attempt left
    is dropped. Raises ``Stale`` and ``Full``."""
    if known is not None and known.attempt > attempt:
        raise Stale
    if known is None or known.attempt < attempt:
        version = known.version + 1 if known is not None else 1
        return Chunks(
            job_id=job_id, attempt=attempt, version=version, delete_at=delete_at, waiting=(text,), writer=writer
        )
    if known.bytes + len(text) > CHUNKS_BYTES or len(known.waiting) >= CHUNKS_COUNT:
        raise Full
    return replace(known, version=known.version + 1, delete_at=delete_at, waiting=(*known.waiting, text), writer=writer)
