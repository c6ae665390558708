"""The memory twin of ``RemoteRunStore``."""

from repo.core.documents import to_document
from repo.ports import Unavailable
from schemas.remote_runs import RemoteRun, remote_key


class MemoryRemoteRunStore:
    """Implements ``RemoteRunStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._runs: dict[str, RemoteRun] = {}

    async def remote_run(self, job_id: str, run: int, target: str) -> RemoteRun | None:
        """See ``RemoteRunStore.remote_run``."""
        self._check()
        return self._runs.get(remote_key(job_id, run, target))

    async def remote_runs(self, target: str) -> list[RemoteRun]:
        """See ``RemoteRunStore.remote_runs``."""
        self._check()
        return [self._runs[key] for key in sorted(self._runs) if self._runs[key].target == target]

    async def store_remote_run(self, remote: RemoteRun, expected: int) -> bool:
        """See ``RemoteRunStore.store_remote_run``."""
        if remote.version <= expected:
            raise ValueError(f"version {remote.version} does not come after {expected}")
        self._check()
        to_document(remote, remote.key)
        stored = self._runs.get(remote.key)
        if (stored.version if stored else 0) != expected:
            return stored == remote
        self._runs[remote.key] = remote
        return True

    async def forget_remote_run(self, remote: RemoteRun) -> bool:
        """See ``RemoteRunStore.forget_remote_run``."""
        self._check()
        stored = self._runs.get(remote.key)
        if stored is None or stored.version != remote.version:
            return False
        del self._runs[remote.key]
        return True

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "away")
