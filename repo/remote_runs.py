"""The port of runs on a foreign service (``schemas/remote_runs.py``). Writers: the workers that follow them.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from typing import Protocol

from schemas.remote_runs import RemoteRun


class RemoteRunStore(Protocol):
    """MongoDB; each write is one document, compared."""

    async def remote_run(self, job_id: str, run: int, target: str) -> RemoteRun | None:
        """The newest version."""
        ...

    async def remote_runs(self, target: str) -> list[RemoteRun]:
        """All of a target, by job and run: those whose jobs have not ended, and a few that have."""
        ...

    async def store_remote_run(self, remote: RemoteRun, expected: int) -> bool:
        """Compare-and-set: True if the stored version was ``expected`` (0: none) and now is this one's.

        Also True where this very document is stored already. Raises ValueError unless its version is higher.
        """
        ...

    async def forget_remote_run(self, remote: RemoteRun) -> bool:
        """Delete it; False where its version is not this one's any more (or it is gone)."""
        ...
