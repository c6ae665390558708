"""What an S3 server says to ``openv doctor``, and to a browser in its place. Writes only a probe, and deletes it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from uuid import uuid4

import httpx

from repo.ports import Unavailable
from repo.s3 import S3ObjectStore
from schemas.instants import from_datetime

WORDS = b"a probe of openv doctor; it may be deleted"
_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a browser would get: the status, who may read the answer in a page (None: nobody of another origin), the
    server's clock (ms, to the second; None where it does not say), and whether it was what had been put there."""

    status: int
    allows: str | None
    at: int | None
    whole: bool


class S3Inspection:
    """Over a connected store."""

    def __init__(self, store: S3ObjectStore) -> None:
        self._store = store

    async def probe(self, folder: str, origin: str | None) -> Answered:
        """Put an object into the folder, read it, follow its signed address as a page of ``origin`` would, delete it.

        Raises ``Unavailable`` where the store refuses, ``httpx.HTTPError`` where the signed address leads nowhere.
        """
        key = f"{folder}{uuid4()}"
        await self._store.put_bytes(key, WORDS, "text/plain")
        try:
            if await self._store.read(key) != WORDS:
                raise Unavailable(self._store.server, "it does not give back what was put there")
            return await _followed(await self._store.signed_url(key, expires_s=60), origin)
        finally:
            with suppress(Unavailable):
                await self._store.delete([key])

    async def allow(self, origins: Sequence[str]) -> None:
        """Let pages of these origins read, beside the rules that there are. Raises ``Unavailable``."""
        await self._store.allow_origins(origins)


async def _followed(url: str, origin: str | None) -> Answered:
    headers = {"Origin": origin} if origin else {}
    async with httpx.AsyncClient(timeout=_WITHIN_S, trust_env=False) as client:
        answer = await client.get(url, headers=headers)
    return Answered(
        answer.status_code,
        answer.headers.get("access-control-allow-origin"),
        _date(answer.headers.get("date")),
        answer.content == WORDS,
    )


def _date(text: str | None) -> int | None:
    try:
        return from_datetime(parsedate_to_datetime(text)) if text else None
    except ValueError:
        return None
