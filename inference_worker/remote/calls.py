"""Who waits for RunPod's calls: each attempt that is followed here has a bell, rung by what gateways pass on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.dispatch import RemoteMoved


class Bell:
    """Keeps under which id the service called about each attempt's submission."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._rung = asyncio.Event()

    def ring(self, remote_id: str | None, signed_attempt: int | None) -> None:
        """Somebody called. An id of which nobody says whose submission it is may be that of a run that has failed."""
        if remote_id is not None and signed_attempt is not None:
            self._ids[signed_attempt] = remote_id
        self._rung.set()

    def remote_id(self, attempt: int) -> str | None:
        """The id of what that attempt submitted, as far as it was said."""
        return self._ids.get(attempt)

    def forget(self) -> None:
        """What was said up to now is about submissions that are given up."""
        self._ids.clear()

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
        """A gateway's word. What it says is looked at no further than the id, and whose that is."""
        for bell in self._bells.get(message.job_id, ()):
            bell.ring(message.remote_id, message.signed_attempt)
