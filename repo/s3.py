"""The object store on S3, through aioboto3: any server that speaks S3's protocol, addressed by path.

Every upload carries its SHA-256, which the server compares before it answers (``x-amz-checksum-sha256`` of PutObject
and UploadPart, S3 API reference); a file in several parts is also compared by its size.
"""

import asyncio
import hashlib
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from repo import tracing
from repo.core.dispositions import attachment
from repo.ports import Listed, Unavailable
from repo.settings import FallbackSettings, ServerSettings
from repo.spans import Kind, Span
from repo.stores import ObjectStores
from schemas.instants import from_datetime
from schemas.jobs import StoredFile

T = TypeVar("T")

ONE_PART_MAX = 16 * 1024 * 1024  # bytes; what is larger goes up in parts
PART = 8 * 1024 * 1024
DELETE_MAX = 1000  # keys that S3 deletes at once
LIST_MAX = 1000  # and lists at once
EXPIRES_MAX_S = 7 * 24 * 3600  # of a signature, version 4
SLOWEST = 256 * 1024  # bytes a second that a transfer may be expected to make
_CONNECT_WITHIN_S = 2.0


class S3ObjectStore:
    """``async with S3ObjectStore(settings) as objects``. Implements ``ObjectStore``; entering does not wait for S3.

    ``timeout_s`` bounds each answer; a transfer has as much more as its size takes at ``SLOWEST``. ``server`` is what
    ``Unavailable`` calls it.
    """

    def __init__(self, settings: ServerSettings, *, timeout_s: float = 5.0, server: str = "s3") -> None:
        self._settings = settings
        self._server = server
        self._bucket = settings.s3_bucket
        self._timeout_s = timeout_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # At DEBUG botocore logs headers and signed URLs, whatever level an operator sets.
        logging.getLogger("botocore").setLevel(max(logging.INFO, logging.getLogger("botocore").level))
        session = aioboto3.Session(
            aws_access_key_id=self._settings.s3_access_key_id,
            aws_secret_access_key=self._settings.s3_secret_access_key.get_secret_value(),
            region_name=self._settings.s3_region,
        )
        config = AioConfig(
            connect_timeout=_CONNECT_WITHIN_S,
            read_timeout=self._timeout_s,
            retries={"total_max_attempts": 2, "mode": "standard"},
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            # Not AWS's own checksums on everything (other servers refuse them), but ours where we ask for it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        here, outside = self._settings.s3_endpoint_url, self._settings.s3_signing_url
        enter = self._stack.enter_async_context
        self._client = await enter(session.client("s3", endpoint_url=here, config=config))
        # It only signs: browsers may have to reach S3 by another name, and the name is part of the signature.
        same = here == outside
        self._signer = self._client if same else await enter(session.client("s3", endpoint_url=outside, config=config))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def prepare(self) -> None:
        """See ``ObjectStore.prepare``."""
        try:
            await self._answer(self._client.head_bucket(Bucket=self._bucket))
        except Unavailable as failure:
            if not _is_missing(failure.__cause__):
                raise
            try:
                await self._answer(self._client.create_bucket(Bucket=self._bucket))
            except Unavailable as refused:
                if _code(refused.__cause__) != "BucketAlreadyOwnedByYou":  # another process was quicker
                    raise

    async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
        """See ``ObjectStore.put_file``. Raises OSError where the file can't be read."""
        with _put("put file") as span:
            stored = await self._put_file(key, path, media_type)
            span.set({"openv.file.bytes": stored.bytes, "openv.file.type": stored.media_type})
        return stored

    async def _put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
        size = (await asyncio.to_thread(path.stat)).st_size
        if size <= ONE_PART_MAX:
            return await self.put_bytes(key, await asyncio.to_thread(path.read_bytes), media_type)
        started = await self._answer(
            self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=media_type, ChecksumAlgorithm="SHA256"
            )
        )
        upload = {"Bucket": self._bucket, "Key": key, "UploadId": self._said(started, "UploadId")}
        try:
            parts, sent, sha256 = await self._send_parts(upload, path)
            await self._answer(self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}), sent)
        except BaseException:
            with suppress(Unavailable):  # parts that stay behind cost space, nothing else
                await asyncio.shield(self._answer(self._client.abort_multipart_upload(**upload)))
            raise
        stored = (await self._answer(self._client.head_object(Bucket=self._bucket, Key=key))).get("ContentLength")
        if stored != sent:
            raise Unavailable(self._server, f"it holds {stored} of {sent} bytes")
        return StoredFile(key=key, bytes=sent, sha256=sha256, media_type=media_type)

    async def _send_parts(self, upload: dict[str, Any], path: Path) -> tuple[list[dict[str, Any]], int, str]:
        """The parts as S3 wants them named, the bytes sent, and the SHA-256 of them all."""
        parts: list[dict[str, Any]] = []
        sent, whole = 0, hashlib.sha256()
        with await asyncio.to_thread(path.open, "rb") as file:
            while data := await asyncio.to_thread(file.read, PART):
                await asyncio.to_thread(whole.update, data)
                sent += len(data)
                number, checksum = len(parts) + 1, _checksum(data)
                answer = await self._answer(
                    self._client.upload_part(**upload, PartNumber=number, Body=data, ChecksumSHA256=checksum), len(data)
                )
                parts.append({"PartNumber": number, "ETag": self._said(answer, "ETag"), "ChecksumSHA256": checksum})
        return parts, sent, whole.hexdigest()

    async def put_bytes(self, key: str, data: bytes, media_type: str) -> StoredFile:
        """See ``ObjectStore.put_bytes``."""
        put = self._client.put_object(
            Bucket=self._bucket, Key=key, Body=data, ContentType=media_type, ChecksumSHA256=_checksum(data)
        )
        self._said(await self._answer(put, len(data)), "ETag")
        return StoredFile(key=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type=media_type)

    async def read(self, key: str) -> bytes | None:
        """See ``ObjectStore.read``."""

        async def get() -> bytes:
            found = await self._client.get_object(Bucket=self._bucket, Key=key)
            async with found["Body"] as body:
                data: bytes = await body.read()
            return data

        try:
            return await self._answer(get(), ONE_PART_MAX)
        except Unavailable as failure:
            if _code(failure.__cause__) == "NoSuchKey":
                return None
            raise

    async def signed_url(self, key: str, *, expires_s: int = 3600, filename: str | None = None) -> str:
        """See ``ObjectStore.signed_url``. Made here, without asking the server."""
        wanted = {"Bucket": self._bucket, "Key": key}
        if filename is not None:
            wanted["ResponseContentDisposition"] = attachment(filename)
        expires = min(max(expires_s, 1), EXPIRES_MAX_S)
        url: str = await self._signer.generate_presigned_url("get_object", Params=wanted, ExpiresIn=expires)
        return url

    async def list_keys(self, prefix: str) -> list[str]:
        """See ``ObjectStore.list_keys``."""
        keys: list[str] = []
        page: dict[str, Any] = {}
        while True:
            page = await self._answer(self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **page))
            self._said(page, "Name")
            keys += [found["Key"] for found in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return sorted(keys)
            page = {"ContinuationToken": self._said(page, "NextContinuationToken")}

    async def list_after(self, after: str, limit: int) -> list[Listed]:
        """See ``ObjectStore.list_after``."""
        wanted: dict[str, Any] = {"Bucket": self._bucket, "MaxKeys": min(limit, LIST_MAX)}
        found: list[Listed] = []
        while len(found) < limit:  # a server may give fewer than asked for although there are more
            last = found[-1].key if found else after
            page = await self._answer(self._client.list_objects_v2(**wanted, **({"StartAfter": last} if last else {})))
            self._said(page, "Name")
            found += [
                Listed(one["Key"], int(one["Size"]), from_datetime(one["LastModified"]))
                for one in page.get("Contents", ())
            ]
            if not page.get("IsTruncated") or not page.get("Contents"):
                break
        return found[:limit]

    async def delete(self, keys: Iterable[str]) -> None:
        """See ``ObjectStore.delete``."""
        names = sorted(set(keys))
        for first in range(0, len(names), DELETE_MAX):
            objects = [{"Key": name} for name in names[first : first + DELETE_MAX]]
            asked = {"Objects": objects, "Quiet": True}
            answer = await self._answer(self._client.delete_objects(Bucket=self._bucket, Delete=asked))
            failed = [one.get("Code", "unknown") for one in answer.get("Errors", ()) if one.get("Code") != "NoSuchKey"]
            if failed:
                raise Unavailable(self._server, f"{len(failed)} keys were not deleted: {failed[0]}")

    @property
    def server(self) -> str:
        """What ``Unavailable`` calls it."""
        return self._server

    async def allow_origins(self, origins: Sequence[str]) -> None:
        """Let pages of these origins read objects, beside the bucket's own CORS rules. Raises ``Unavailable``."""
        try:
            rules = (await self._answer(self._client.get_bucket_cors(Bucket=self._bucket))).get("CORSRules", [])
        except Unavailable as failure:
            if _code(failure.__cause__) != "NoSuchCORSConfiguration":
                raise
            rules = []
        ours = {"AllowedMethods": ["GET", "HEAD"], "AllowedOrigins": list(origins), "AllowedHeaders": ["*"]}
        changed = {"CORSRules": [*rules, ours]}
        await self._answer(self._client.put_bucket_cors(Bucket=self._bucket, CORSConfiguration=changed))

    async def ping(self) -> None:
        """See ``ObjectStore.ping``."""
        await self._answer(self._client.head_bucket(Bucket=self._bucket))

    def _said(self, answer: dict[str, Any], member: str) -> Any:
        """What S3 always says. Raises ``Unavailable`` where something else answers (a proxy, a log-in page)."""
        if not answer.get(member):
            raise Unavailable(self._server, f"what answers is no S3 server: it names no {member}")
        return answer[member]

    async def _answer(self, asked: Awaitable[T], size: int = 0) -> T:
        """The server's answer; ``size``: bytes that travel with it. Raises ``Unavailable``, its cause attached."""
        try:
            async with asyncio.timeout(self._timeout_s + size / SLOWEST):
                return await asked
        except ClientError as failure:
            known = failure.response.get("Error", {})
            where = f" for bucket {self._bucket}" if _is_missing(failure) else ""
            reason = f"it refuses {failure.operation_name}{where}: {known.get('Code')}"
            raise Unavailable(self._server, reason) from failure
        except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as failure:
            reason = f"{type(failure).__name__}: {failure}".strip(": ").replace("\n", " ")[:200]
            raise Unavailable(self._server, reason) from failure


@asynccontextmanager
async def open_stores(servers: ServerSettings, fallback: FallbackSettings) -> AsyncIterator[ObjectStores]:
    """The main store, and the fallback where one is configured. Entering does not wait for S3."""
    second = fallback.as_servers(servers)
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(S3ObjectStore(servers))
        if second is None:
            yield ObjectStores(main)
        else:
            other = S3ObjectStore(second, server="s3_fallback")
            yield ObjectStores(main, await stack.enter_async_context(other))


def _checksum(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()


def _code(failure: BaseException | None) -> str | None:
    return failure.response.get("Error", {}).get("Code") if isinstance(failure, ClientError) else None


def _is_missing(failure: BaseException | None) -> bool:
    return _code(failure) in ("404", "NoSuchBucket", "NotFound")


def _put(operation: str) -> AbstractContextManager[Span]:
    """A span for what is stored on behalf of a job; keys hold users' ids and are not told."""
    return tracing.span(f"s3 {operation}", Kind.CLIENT, attributes={"rpc.system": "aws-api", "rpc.service": "S3"})
