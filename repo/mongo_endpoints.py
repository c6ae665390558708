"""The endpoint store on MongoDB: serverless endpoints, and what their workers stream."""

from collections.abc import Mapping
from typing import TypeVar

from pymongo import ASCENDING

from repo.core.documents import from_document, to_moment
from repo.mongo_compared import compare_and_set
from repo.mongo_connection import Collection, MongoConnection
from schemas.chunks import Chunks
from schemas.endpoints import BUILT_IN, ServerlessEndpoint

V = TypeVar("V", ServerlessEndpoint, Chunks)

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "endpoints": (),  # by _id alone, and all of them
    "chunks": ((("deleteAt", ASCENDING),),),  # sweep_chunks
}


class MongoEndpointStore:
    """Implements ``EndpointStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._endpoints = connection.collection("endpoints")
        self._chunks = connection.collection("chunks")

    async def endpoint(self, endpoint_id: str) -> ServerlessEndpoint | None:
        """See ``EndpointStore.endpoint``."""
        stored = await self._stored(self._endpoints, ServerlessEndpoint, endpoint_id)
        return BUILT_IN if stored is None and endpoint_id == BUILT_IN.endpoint_id else stored

    async def endpoints(self) -> list[ServerlessEndpoint]:
        """See ``EndpointStore.endpoints``."""
        documents = await self._answer(lambda: self._endpoints.find({}).to_list(None))
        stored = [from_document(ServerlessEndpoint, document) for document in documents]
        known = {one.endpoint_id: one for one in (BUILT_IN, *stored)}
        return [known[endpoint_id] for endpoint_id in sorted(known)]

    async def store_endpoint(self, endpoint: ServerlessEndpoint, expected: int) -> bool:
        """See ``EndpointStore.store_endpoint``."""
        return await compare_and_set(self._answer, self._endpoints, endpoint, endpoint.endpoint_id, expected)

    async def chunks(self, job_id: str) -> Chunks | None:
        """See ``EndpointStore.chunks``."""
        return await self._stored(self._chunks, Chunks, job_id)

    async def store_chunks(self, chunks: Chunks, expected: int) -> bool:
        """See ``EndpointStore.store_chunks``."""
        return await compare_and_set(self._answer, self._chunks, chunks, chunks.job_id, expected)

    async def forget_chunks(self, job_id: str) -> None:
        """See ``EndpointStore.forget_chunks``."""
        await self._answer(lambda: self._chunks.delete_one({"_id": job_id}))

    async def sweep_chunks(self, now: int) -> int:
        """See ``EndpointStore.sweep_chunks``."""
        gone = await self._answer(lambda: self._chunks.delete_many({"deleteAt": {"$lte": to_moment(now)}}))
        return int(gone.deleted_count)

    async def _stored(self, at: Collection, kind: type[V], key: str) -> V | None:
        found = await self._answer(lambda: at.find_one({"_id": key}))
        return from_document(kind, found) if found else None
