"""The port of hygiene: looking through everything that is kept, in bounded steps, and removing what has had its time.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated. A walk goes by
id, so that it needs no index of its own, and each step looks at so many documents and no more.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from schemas.jobs import Job


@dataclass(frozen=True, slots=True)
class JobPage:
    """One step of a walk. ``last``: the id to go on after; None where the walk is over. ``damaged``: the ids of
    documents that can't be read, which were passed by."""

    jobs: tuple[Job, ...]
    last: str | None
    damaged: tuple[str, ...] = ()


class UpkeepStore(Protocol):
    """MongoDB, all rooms of it. Writers: the sweepers beside the janitors, and ``openv doctor --repair``."""

    async def jobs_after(self, after: str, limit: int) -> JobPage:
        """Anybody's jobs, in whatever state, by id, from the one after ``after`` on ("": from the first)."""
        ...

    async def known_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job | None]:
        """Those of these that there are, by id; None for one that can't be read."""
        ...

    async def remove_job(self, job: Job) -> bool:
        """Delete the document if it still is of this version; whether it is gone by this call.

        Only ``streams/core/forgetting.py`` says when that is harmless.
        """
        ...

    async def sweep_keys(self, before: int) -> int:
        """Delete everybody's sessions and one-time keys that expired before ``before`` (ms); how many there were."""
        ...
