"""The identity provider's public keys (a JWKS, RFC 7517): fetched beside the requests, kept, and never in a storm.

PyJWT's own client does not serve old keys once they are stale, nor does a failed fetch stop the next one, and it reads
answers of any length; so the fetching is here, and PyJWT reads the keys.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import httpx
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from gateway.core.claims import ALGORITHM, KID_MAX
from repo.ports import Unavailable

FRESH_S = 300.0
FETCH_S = 5.0
BYTES_MAX = 64 * 1024
KEYS_MAX = 50
BITS_MIN = 2048
SERVER = "identity"
logger = structlog.get_logger()


class Keys:
    """One issuer's. ``cooldown_s`` is the least time between two fetches, whoever asks for whatever key."""

    def __init__(
        self, url: str, *, cooldown_s: float, fresh_s: float = FRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._cooldown_s = cooldown_s
        self._fresh_s = fresh_s
        self._clock = clock
        self._http = httpx.AsyncClient(
            timeout=FETCH_S,
            follow_redirects=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        self._keys: Mapping[str, RSAPublicKey] | None = None
        self._trouble: str | None = "not asked yet"
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> RSAPublicKey | None:
        """The key of this id, or None if the issuer has none such. Raises ``Unavailable`` if that can't be told now.

        A known key is good at once, however old the news of it is. An unknown one is looked for, at most once in the
        cooldown for all of them together.
        """
        if self._keys is None or kid not in self._keys:
            await self._ask_again()
        found = self._keys.get(kid) if self._keys is not None else None
        if found is None and self._trouble is not None:
            raise Unavailable(SERVER, self._trouble)
        return found

    async def run(self) -> None:
        """For ever: fetch, and fetch again before the keys are old news; soon, where it failed. Ends what it began."""
        try:
            while True:
                await self._ask_again()
                await asyncio.sleep(self._fresh_s if self._trouble is None else self._cooldown_s)
        finally:
            if self._asking is not None:
                self._asking.cancel()
            await self._http.aclose()

    async def _ask_again(self) -> None:
        """Join the fetch under way, or begin one unless the last began a moment ago. A caller who leaves stops none."""
        if self._asking is None:
            if self._clock() - self._asked_at < self._cooldown_s:
                return
            self._asked_at = self._clock()
            self._asking = asyncio.create_task(self._ask(), name="jwks")
            self._asking.add_done_callback(self._asked)
        await asyncio.wait([self._asking])

    def _asked(self, _: "asyncio.Task[None]") -> None:
        self._asking = None

    async def _ask(self) -> None:
        trouble: str | None = None
        try:
            async with asyncio.timeout(FETCH_S):
                self._keys = keys_of(await self._fetch())
        except TimeoutError:
            trouble = f"no keys within {FETCH_S:g} s"
        except Exception as error:  # noqa: BLE001 -- whatever it was: the old keys stay, and it is tried again
            trouble = f"no keys: {type(error).__name__}: {error}"[:200]
        if trouble is not None and self._trouble in (None, "not asked yet"):
            logger.warning("identity_keys_missing", address=self._url, reason=trouble, old_keys=self._keys is not None)
        elif trouble is None and self._trouble is not None:
            logger.info("identity_keys_here", keys=len(self._keys or ()))
        self._trouble = trouble

    async def _fetch(self) -> Any:
        """The JSON at the address. Raises ``ValueError`` and httpx's errors."""
        body = bytearray()
        async with self._http.stream("GET", self._url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"status {answer.status_code}")
            async for part in answer.aiter_raw():
                body += part
                if len(body) > BYTES_MAX:
                    raise ValueError(f"more than {BYTES_MAX} bytes")
        return orjson.loads(body)


def keys_of(jwks: Any) -> Mapping[str, RSAPublicKey]:
    """The RSA keys of a JWKS that may sign session tokens, by id. Raises ``ValueError`` where there is none.

    Others in it (for encryption, of other kinds, damaged, short) are left aside.
    """
    listed = jwks.get("keys") if isinstance(jwks, dict) else None
    found: dict[str, RSAPublicKey] = {}
    for one in listed[:KEYS_MAX] if isinstance(listed, list) else ():
        kid = one.get("kid") if isinstance(one, dict) else None
        if isinstance(kid, str) and 0 < len(kid) <= KID_MAX and (key := _signing_key(one)) is not None:
            found[kid] = key
    if not found:
        raise ValueError("there is no RSA key for signatures among them")
    return MappingProxyType(found)


def _signing_key(jwk: dict[str, Any]) -> RSAPublicKey | None:
    fits = jwk.get("kty") == "RSA" and jwk.get("use", "sig") == "sig" and jwk.get("alg", ALGORITHM) == ALGORITHM
    if not fits:
        return None
    try:
        key = PyJWK.from_dict(jwk, ALGORITHM).key
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= BITS_MIN else None
