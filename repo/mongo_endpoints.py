"""The endpoint store on MongoDB: serverless endpoints, and what their workers stream."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from repo.core.documents import from_document, to_document, to_moment
from repo.mongo_compared import compare_and_set
from repo.mongo_connection import Collection, MongoConnection
from schemas.chunks import Bundle, Chunks
from schemas.endpoints import BUILT_IN, ServerlessEndpoint

V = TypeVar("V", ServerlessEndpoint, Chunks)

# Beside the queries below that they serve.
INDEXES: Mapping[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "endpoints": (),  # by _id alone, and all of them
    "chunks": ((("deleteAt", ASCENDING),),),  # sweep_chunks
    "chunk_bundles": (
        (("jobId", ASCENDING),),  # forget_chunks
        (("deleteAt", ASCENDING),),  # sweep_chunks
    ),
}


class MongoEndpointStore:
    """Implements ``EndpointStore``."""

    def __init__(self, connection: MongoConnection) -> None:
        self._answer = connection.answer
        self._endpoints = connection.collection("endpoints")
        self._chunks = connection.collection("chunks")
        self._bundles = connection.collection("chunk_bundles")

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

    async def store_bundle(self, bundle: Bundle) -> None:
        """See ``EndpointStore.store_bundle``."""
        document = to_document(bundle, bundle.bundle_id)
        with suppress(DuplicateKeyError):
            await self._answer(lambda: self._bundles.insert_one(document))

    async def bundles(self, bundle_ids: Sequence[str]) -> list[Bundle]:
        """See ``EndpointStore.bundles``."""
        wanted = {"_id": {"$in": list(bundle_ids)}}
        documents = await self._answer(lambda: self._bundles.find(wanted).to_list(None))
        found = {document["_id"]: document for document in documents}
        return [from_document(Bundle, found[one]) for one in bundle_ids if one in found]

    async def drop_bundles(self, bundle_ids: Sequence[str]) -> None:
        """See ``EndpointStore.drop_bundles``."""
        await self._answer(lambda: self._bundles.delete_many({"_id": {"$in": list(bundle_ids)}}))

    async def forget_chunks(self, job_id: str) -> None:
        """See ``EndpointStore.forget_chunks``."""
        # Most jobs never streamed, and the stand-in would look through all bundles for each. The document goes last:
        # whoever dies between them is followed by another, who finds it.
        if await self._answer(lambda: self._chunks.find_one({"_id": job_id})):
            await self._answer(lambda: self._bundles.delete_many({"jobId": job_id}))
            await self._answer(lambda: self._chunks.delete_one({"_id": job_id}))

    async def sweep_chunks(self, now: int) -> int:
        """See ``EndpointStore.sweep_chunks``."""
        due = {"deleteAt": {"$lte": to_moment(now)}}
        gone = await self._answer(lambda: self._chunks.delete_many(due))
        more = await self._answer(lambda: self._bundles.delete_many(due))
        return int(gone.deleted_count) + int(more.deleted_count)

    async def _stored(self, at: Collection, kind: type[V], key: str) -> V | None:
        found = await self._answer(lambda: at.find_one({"_id": key}))
        return from_document(kind, found) if found else None
