"""The port of long works (``schemas/works.py``). Writers: the admin processes.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from typing import Protocol

from schemas.works import Work


class WorkStore(Protocol):
    """MongoDB; each write is one document, compared."""

    async def work(self, work_id: str) -> Work | None:
        """The newest version."""
        ...

    async def store_work(self, work: Work, expected: int) -> bool:
        """Compare-and-set: True if the stored version was ``expected`` (0: none) and now is this one's.

        Also True where this very document is stored already. Raises ValueError unless its version is higher.
        """
        ...

    async def works(self, *, limit: int, before: tuple[int, str] | None = None) -> list[Work]:
        """Newest first by (created_at, work_id); ``before`` pages: those that sort after this one.

        Without arguments ("{}") and result (None), which may be large: ``work`` has them. One that can't be read is
        left out, here and among the unfinished ones.
        """
        ...

    async def unfinished_works(self, limit: int = 100) -> list[Work]:
        """Those that wait or run, oldest first."""
        ...

    async def forget_works(self, ended_before: int) -> None:
        """Delete those that ended, and have not changed since then (ms)."""
        ...
