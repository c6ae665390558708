"""Who waits for RunPod's calls: each attempt that is followed here has a bell, rung by what gateways pass on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.dispatch import RemoteMoved


class Bell:
    """``remote_id``: under which id the service called last."""

    def __init__(self) -> None:
        self.remote_id: str | None = None
        self._rung = asyncio.Event()

    def ring(self, remote_id: str | None) -> None:
        """Somebody called."""
        self.remote_id = remote_id or self.remote_id
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Whether it was rung since the last wait, or was within that time."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class Calls:
    """The bells of one process, by job."""

    def __init__(self) -> None:
        self._bells: dict[str, list[Bell]] = {}

    @contextmanager
    def bell(self, job_id: str) -> Iterator[Bell]:
        """A bell for as long as the job is followed."""
        bell = Bell()
        self._bells.setdefault(job_id, []).append(bell)
        try:
            yield bell
        finally:
            self._bells[job_id].remove(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]

    def moved(self, message: RemoteMoved) -> None:
        """A gateway's word. What it says is looked at no further than the id."""
        for bell in self._bells.get(message.job_id, ()):
            bell.ring(message.remote_id)
