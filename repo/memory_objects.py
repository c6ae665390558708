"""The object store's memory twin."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

from repo.clock import now_ms
from repo.core.dispositions import attachment
from repo.ports import Listed, Unavailable
from schemas.jobs import StoredFile


class MemoryObjectStore:
    """Implements ``ObjectStore``. ``away = True`` is an outage. Its signed URLs lead nowhere: ``memory://{host}/…``."""

    def __init__(self, server: str = "s3", host: str = "objects") -> None:
        self.away = False
        self._server = server
        self._host = host
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.written: dict[str, int] = {}  # in ms, by key
        self.clock = now_ms

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def prepare(self) -> None:
        """See ``ObjectStore.prepare``. There is no bucket to make."""
        self._check()

    async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
        """See ``ObjectStore.put_file``."""
        return await self.put_bytes(key, path.read_bytes(), media_type)  # noqa: ASYNC240 -- a test's small file

    async def put_bytes(self, key: str, data: bytes, media_type: str) -> StoredFile:
        """See ``ObjectStore.put_bytes``."""
        self._check()
        self.objects[key] = (data, media_type)
        self.written[key] = self.clock()
        return StoredFile(key=key, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type=media_type)

    async def read(self, key: str) -> bytes | None:
        """See ``ObjectStore.read``."""
        self._check()
        found = self.objects.get(key)
        return None if found is None else found[0]

    async def signed_url(self, key: str, *, expires_s: int = 3600, filename: str | None = None) -> str:
        """See ``ObjectStore.signed_url``."""
        wanted = {"expires": str(expires_s)}
        if filename is not None:
            wanted["response-content-disposition"] = attachment(filename)
        return f"memory://{self._host}/{quote(key)}?{urlencode(wanted)}"

    async def list_keys(self, prefix: str) -> list[str]:
        """See ``ObjectStore.list_keys``."""
        self._check()
        return sorted(key for key in self.objects if key.startswith(prefix))

    async def list_after(self, after: str, limit: int) -> list[Listed]:
        """See ``ObjectStore.list_after``. What a test put into ``objects`` by hand was written at the beginning."""
        self._check()
        keys = sorted(key for key in self.objects if key > after)[:limit]
        return [Listed(key, len(self.objects[key][0]), self.written.get(key, 0)) for key in keys]

    async def delete(self, keys: Iterable[str]) -> None:
        """See ``ObjectStore.delete``."""
        self._check()
        for key in keys:
            self.objects.pop(key, None)

    async def ping(self) -> None:
        """See ``ObjectStore.ping``."""
        self._check()

    def _check(self) -> None:
        if self.away:
            raise Unavailable(self._server, "away")
