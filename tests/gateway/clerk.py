"""An identity provider of our own, as Clerk is one: RSA keys, tokens signed with them, a JWKS served over real HTTP."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.settings import GatewaySettings
from repo.clock import now_ms
from tests.gateway.world import ORIGIN, settings
from tests.servers import closed_port

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ---").decode()


@cache
def private_key(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same one for the same number: making one takes a while."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


def public_jwk(kid: str, number: int, **members: Any) -> dict[str, Any]:
    """As a JWKS lists it."""
    jwk: dict[str, Any] = RSAAlgorithm.to_jwk(private_key(number).public_key(), as_dict=True)
    return jwk | {"kid": kid, "use": "sig", "alg": "RS256"} | members


class OwnClerk:
    """``keys``: the number of the key by its id. ``asked`` counts how often the JWKS was asked for."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys = {"first": 0}
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.body: bytes | None = None
        self.status = 200
        self.headers: dict[str, str] = {}
        self._port = port
        self._runner: web.AppRunner | None = None

    def settings(self, **changes: Any) -> GatewaySettings:
        """Of a gateway that believes it."""
        return settings(clerk_issuer=self.issuer, **changes)

    def claims(self, user_id: str = "user_ada", *, lasts_s: float = 60, **changes: Any) -> dict[str, Any]:
        """What a session's token says; None leaves a member out."""
        now = time.time()  # noqa: TID251 -- tokens tell the time in seconds
        said = {
            "sub": user_id, "sid": "sess_1", "iss": self.issuer, "azp": ORIGIN, "iat": int(now), "nbf": int(now) - 10,
            "exp": int(now + lasts_s), "jti": "1", "fva": [1, -1], "v": 2, "sts": "active",
        }  # fmt: skip
        return {name: value for name, value in (said | changes).items() if value is not None}

    def token(self, user_id: str = "user_ada", *, kid: str = "first", number: int | None = None, **claims: Any) -> str:
        """A session token, signed with the key of that id, or with another one."""
        key = private_key(self.keys[kid] if number is None else number)
        return jwt.encode(self.claims(user_id, **claims), key, algorithm="RS256", headers={"kid": kid})

    async def start(self) -> None:
        """Serve the JWKS, on the same port as before."""
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._jwks)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    async def stop(self) -> None:
        """Nobody listens there any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _jwks(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answers.wait()
        listed = {"keys": [public_jwk(kid, number) for kid, number in self.keys.items()]}
        body = json.dumps(listed).encode() if self.body is None else self.body
        return web.Response(body=body, status=self.status, headers=self.headers)


@asynccontextmanager
async def own_clerk() -> AsyncIterator[OwnClerk]:
    """One that serves its keys."""
    clerk = OwnClerk(closed_port())
    await clerk.start()
    try:
        yield clerk
    finally:
        clerk.answers.set()
        await clerk.stop()


def signed(body: bytes, *, secret: str = SECRET, message: str = "msg_1", at_ms: int | None = None) -> dict[str, str]:
    """The headers with which Svix delivers this body. Written down from the scheme, not by the library under test."""
    stamp = str((now_ms() if at_ms is None else at_ms) // 1000)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message}.{stamp}.".encode() + body, sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"svix-id": message, "svix-timestamp": stamp, "svix-signature": signature}


def user_event(kind: str, user_id: str, at: int, **changes: Any) -> bytes:
    """The body of ``user.created`` or ``user.updated``."""
    data = {
        "object": "user", "id": user_id, "created_at": at, "updated_at": at, "first_name": "Ada", "last_name": None,
        "image_url": "https://img.example.org/a.png", "profile_image_url": "https://old.example.org/a.png",
        "primary_email_address_id": "idn_2",
        "email_addresses": [
            {"id": "idn_1", "email_address": "first@example.org"}, {"id": "idn_2", "email_address": "ada@example.org"},
        ],
    }  # fmt: skip
    return json.dumps({"type": kind, "object": "event", "timestamp": at + 3, "data": data | changes}).encode()


def deleted_event(user_id: str, at: int | None) -> bytes:
    """The body of ``user.deleted``; None leaves its time out."""
    event = {"type": "user.deleted", "object": "event", "data": {"deleted": True, "id": user_id, "object": "user"}}
    return json.dumps(event | ({} if at is None else {"timestamp": at})).encode()
