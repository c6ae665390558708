"""A file from an address that strangers chose, onto this disk: every hop judged as ``repo/outgoing.py`` judges, and
bounded in bytes and time. What it holds is for the caller to look at.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from repo.core.addresses import Rules, wrong_with
from repo.outgoing import LookupsBusy, NotAllowed, Outgoing

REDIRECTS_MAX = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429})  # and all from 500 on: another time may do
PIECE = 256 * 1024
NO_MEDIA = ("text/html", "application/json", "text/plain", "application/xml", "text/xml")


@dataclass(frozen=True, slots=True)
class Bounds:
    """``bytes_max`` of the file; ``silent_s``: the longest wait for a byte; ``within_s``: for all of it."""

    bytes_max: int
    silent_s: float = 30.0
    within_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """``sha256`` is hexadecimal."""

    bytes: int
    sha256: str


class NotDownloaded(Exception):
    """Words for a person, without the address: it may carry a signature. ``final``: another time it is the same.

    ``gone``: the address leads to nothing (any more).
    """

    def __init__(self, words: str, *, final: bool = False, gone: bool = False) -> None:
        super().__init__(words)
        self.final = final
        self.gone = gone


async def download(outgoing: Outgoing, rules: Rules, url: str, path: Path, bounds: Bounds) -> Downloaded:
    """Write the file. Raises ``NotDownloaded``, and OSError where it can't be written; nothing is left behind then."""
    try:
        async with asyncio.timeout(bounds.within_s):
            return await _followed(outgoing, rules, url, path, bounds)
    except TimeoutError:
        _removed(path)
        raise NotDownloaded(f"it did not come within {bounds.within_s:g} s") from None
    except BaseException:
        _removed(path)
        raise


def _removed(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


async def _followed(outgoing: Outgoing, rules: Rules, url: str, path: Path, bounds: Bounds) -> Downloaded:
    for _ in range(REDIRECTS_MAX + 1):
        wrong = wrong_with(url, rules)
        if wrong is not None:
            raise NotDownloaded(f"its address {wrong}", final=True)
        try:
            async with outgoing.get(url, silent_s=bounds.silent_s) as response:
                if response.status not in REDIRECTS:
                    return await _written(response, path, bounds)
                url = _next(url, response)
        except TimeoutError:
            raise NotDownloaded("its server stopped answering") from None
        except (aiohttp.ClientError, ValueError) as failure:
            raise _explained(outgoing, failure) from None
        except (NotAllowed, LookupsBusy) as failure:
            raise _explained(outgoing, failure) from None
    raise NotDownloaded(f"its address leads on more than {REDIRECTS_MAX} times", final=True)


def _next(url: str, response: aiohttp.ClientResponse) -> str:
    location = response.headers.get("Location")
    if not location:
        raise NotDownloaded(f"its server answered {response.status} without saying where it is", final=True)
    return str(URL(url, encoded=True).join(URL(location, encoded=True)))


async def _written(response: aiohttp.ClientResponse, path: Path, bounds: Bounds) -> Downloaded:
    if response.status != 200:
        passing = response.status >= 500 or response.status in PASSING
        raise NotDownloaded(f"its server answered {response.status}", gone=not passing)
    media_type = response.content_type
    if media_type in NO_MEDIA and "Content-Type" in response.headers:
        raise NotDownloaded(f"what lies there is no video ({media_type})", final=True)
    too_large = NotDownloaded(f"it is larger than {bounds.bytes_max} bytes", final=True)
    if (response.content_length or 0) > bounds.bytes_max:
        raise too_large
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        async for piece in response.content.iter_chunked(PIECE):
            size += len(piece)
            if size > bounds.bytes_max:
                raise too_large
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)
    return Downloaded(size, digest.hexdigest())


def _explained(outgoing: Outgoing, failure: Exception) -> NotDownloaded:
    barred = isinstance(getattr(failure, "os_error", failure), NotAllowed)
    return NotDownloaded(f"its server: {outgoing.words(failure)}", final=barred)
