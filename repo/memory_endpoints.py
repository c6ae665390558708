"""The memory twin of ``EndpointStore``."""

from typing import TypeVar

from repo.core.documents import to_document
from repo.ports import Unavailable
from schemas.chunks import Chunks
from schemas.endpoints import BUILT_IN, ServerlessEndpoint

V = TypeVar("V", ServerlessEndpoint, Chunks)


class MemoryEndpointStore:
    """Implements ``EndpointStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._endpoints: dict[str, ServerlessEndpoint] = {}
        self._chunks: dict[str, Chunks] = {}

    async def endpoint(self, endpoint_id: str) -> ServerlessEndpoint | None:
        """See ``EndpointStore.endpoint``."""
        self._check()
        return {BUILT_IN.endpoint_id: BUILT_IN, **self._endpoints}.get(endpoint_id)

    async def endpoints(self) -> list[ServerlessEndpoint]:
        """See ``EndpointStore.endpoints``."""
        self._check()
        known = {BUILT_IN.endpoint_id: BUILT_IN, **self._endpoints}
        return [known[endpoint_id] for endpoint_id in sorted(known)]

    async def store_endpoint(self, endpoint: ServerlessEndpoint, expected: int) -> bool:
        """See ``EndpointStore.store_endpoint``."""
        return self._compare_and_set(self._endpoints, endpoint, endpoint.endpoint_id, expected)

    async def chunks(self, job_id: str) -> Chunks | None:
        """See ``EndpointStore.chunks``."""
        self._check()
        return self._chunks.get(job_id)

    async def store_chunks(self, chunks: Chunks, expected: int) -> bool:
        """See ``EndpointStore.store_chunks``."""
        return self._compare_and_set(self._chunks, chunks, chunks.job_id, expected)

    async def forget_chunks(self, job_id: str) -> None:
        """See ``EndpointStore.forget_chunks``."""
        self._check()
        self._chunks.pop(job_id, None)

    async def sweep_chunks(self, now: int) -> int:
        """See ``EndpointStore.sweep_chunks``."""
        self._check()
        old = [job_id for job_id, one in self._chunks.items() if one.delete_at <= now]
        for job_id in old:
            del self._chunks[job_id]
        return len(old)

    def _compare_and_set(self, at: dict[str, V], value: V, key: str, expected: int) -> bool:
        if value.version <= expected:
            raise ValueError(f"version {value.version} does not come after {expected}")
        self._check()
        to_document(value, key)
        stored = at.get(key)
        if (stored.version if stored else 0) != expected:
            return stored == value
        at[key] = value
        return True

    def _check(self) -> None:
        if self.away:
            raise Unavailable("mongodb", "away")
