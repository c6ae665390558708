"""The memory twin of ``EndpointStore``."""

from collections.abc import Sequence
from typing import TypeVar

from repo.core.documents import to_document
from repo.ports import Unavailable
from schemas.chunks import Bundle, Chunks
from schemas.endpoints import BUILT_IN, ServerlessEndpoint

V = TypeVar("V", ServerlessEndpoint, Chunks)


class MemoryEndpointStore:
    """Implements ``EndpointStore``. ``away = True`` is an outage."""

    def __init__(self) -> None:
        self.away = False
        self._endpoints: dict[str, ServerlessEndpoint] = {}
        self._chunks: dict[str, Chunks] = {}
        self._bundles: dict[str, Bundle] = {}

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

    async def store_bundle(self, bundle: Bundle) -> None:
        """See ``EndpointStore.store_bundle``."""
        self._check()
        to_document(bundle, bundle.bundle_id)
        self._bundles.setdefault(bundle.bundle_id, bundle)

    async def bundles(self, bundle_ids: Sequence[str]) -> list[Bundle]:
        """See ``EndpointStore.bundles``."""
        self._check()
        return [self._bundles[one] for one in bundle_ids if one in self._bundles]

    async def drop_bundles(self, bundle_ids: Sequence[str]) -> None:
        """See ``EndpointStore.drop_bundles``."""
        self._check()
        for one in bundle_ids:
            self._bundles.pop(one, None)

    async def forget_chunks(self, job_id: str) -> None:
        """See ``EndpointStore.forget_chunks``."""
        self._check()
        if self._chunks.pop(job_id, None) is not None:
            self._bundles = {key: one for key, one in self._bundles.items() if one.job_id != job_id}

    async def sweep_chunks(self, now: int) -> int:
        """See ``EndpointStore.sweep_chunks``."""
        self._check()
        return _swept(self._chunks, now) + _swept(self._bundles, now)

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


def _swept(at: dict[str, Chunks] | dict[str, Bundle], now: int) -> int:
    old = [key for key, one in at.items() if one.delete_at <= now]
    for key in old:
        del at[key]
    return len(old)
