"""The port of serverless endpoints and of what their workers stream. Shapes: ``schemas/endpoints.py``, ``chunks.py``.

As the other ports (``repo/ports.py``): every method raises ``Unavailable``, every write may be repeated.
"""

from collections.abc import Sequence
from typing import Protocol

from schemas.chunks import Bundle, Chunks
from schemas.endpoints import ServerlessEndpoint


class EndpointStore(Protocol):
    """MongoDB. Writers: operators (endpoints) and gateways (chunks). Endpoints and chunks are
    compared documents; bundles never change."""

    async def endpoint(self, endpoint_id: str) -> ServerlessEndpoint | None:
        """The newest version, a deleted one too; ``BUILT_IN`` where that was never changed."""
        ...

    async def endpoints(self) -> list[ServerlessEndpoint]:
        """All, by name; deleted ones too, and the built-in one."""
        ...

    async def store_endpoint(self, endpoint: ServerlessEndpoint, expected: int) -> bool:
        """Compare-and-set: True if the stored version was ``expected`` (0: none) and now is this one's.

        Also True where this very document is stored already. Raises ValueError unless its version is higher.
        """
        ...

    async def chunks(self, job_id: str) -> Chunks | None:
        """What waits of this job; its bundles by ``bundles``."""
        ...

    async def store_chunks(self, chunks: Chunks, expected: int) -> bool:
        """Compare-and-set, as ``store_endpoint``. Its bundles are stored before."""
        ...

    async def store_bundle(self, bundle: Bundle) -> None:
        """One that is there already is the same one, and stays."""
        ...

    async def bundles(self, bundle_ids: Sequence[str]) -> list[Bundle]:
        """In this order, without those that are gone."""
        ...

    async def drop_bundles(self, bundle_ids: Sequence[str]) -> None:
        """Delete them."""
        ...

    async def forget_chunks(self, job_id: str) -> None:
        """Delete what was streamed by this job, where there is a document of it: that, and every bundle, those too
        that it does not name any more because somebody died before deleting them."""
        ...

    async def sweep_chunks(self, now: int) -> int:
        """Delete documents and bundles whose ``delete_at`` has come; how many there were."""
        ...
