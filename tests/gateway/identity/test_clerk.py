"""Clerk's session tokens at the real application: in headers, cookies and sockets; good ones, and all that are not."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import InvalidStatus

from gateway.core.claims import Doubt
from gateway.identity.principal import Way
from schemas.accounts import Account, Role
from schemas.api.live import CloseCode
from tests.gateway.clerk import OwnClerk, own_clerk, private_key, public_jwk
from tests.gateway.sockets import serving, socket
from tests.gateway.world import ORIGIN, World, eventually, job, started, until

PAGE = "https://app.example.org"


@pytest.fixture(scope="module")
async def clerk() -> AsyncIterator[OwnClerk]:
    async with own_clerk() as one:
        yield one


@pytest.fixture(scope="module")
async def world(clerk: OwnClerk) -> AsyncIterator[World]:
    async with started(clerk.settings(allowed_origins=PAGE)) as made:
        await made.store.store_job(job("ada-1", "user_ada"), 0)
        await made.store.store_account(Account(user_id="user_ada", version=1, role=Role.USER, role_issued_at=1), 0)
        yield made


async def asked(world: World, token: str | None = None, *, method: str = "GET", **headers: str) -> httpx.Response:
    """The list of videos, or an attempt at deleting none, with this token in the header."""
    transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
    given = headers if token is None else headers | {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=given) as http:
        return await http.request(method, "/api/videos", json=None if method == "GET" else {"jobIds": ["ada-1-not"]})


async def test_a_token_in_the_header_or_the_cookie_is_its_user(world: World, clerk: OwnClerk) -> None:
    token = clerk.token()
    for answer in (
        await asked(world, token),
        await asked(world, Cookie=f"__session={token}"),
        await asked(world, Cookie=f"__session_a1b2c3d4={token}; __session=; other=1"),
        await asked(world, Cookie=f"__session=no.token.here; __session_x={token}"),
    ):
        assert [row["jobId"] for row in answer.json()] == ["ada-1"], answer.text
    assert (await asked(world, clerk.token("user_bob"))).json() == []
    assert (await asked(world, await world.key("user_ada"))).status_code == 200, "keys are good beside it"


async def test_the_caller_has_the_role_of_its_account_until_the_token_ends(world: World, clerk: OwnClerk) -> None:
    claims = clerk.claims()
    caller = await world.parts.auth.by_secret(clerk.token(**claims))
    assert caller is not None
    assert (caller.user_id, caller.role, caller.way) == ("user_ada", Role.USER, Way.IDENTITY)
    assert (caller.expires_at, caller.key_hash) == (claims["exp"] * 1000, None)
    newcomer = await world.parts.auth.by_secret(clerk.token("user_new"))
    assert newcomer is not None
    assert newcomer.role is Role.RESTRICTED


async def test_a_deleted_user_is_nobody(world: World, clerk: OwnClerk) -> None:
    gone = Account(user_id="user_gone", version=1, role_issued_at=5, deleted_at=6, deleted_issued_at=5)
    await world.store.store_account(gone, 0)
    assert (await asked(world, clerk.token("user_gone"))).status_code == 401


def forged(clerk: OwnClerk, header: dict[str, Any], signature: bytes = b"x") -> str:
    """A token of any header, as nobody's library would make it."""
    parts = [json.dumps(header).encode(), json.dumps(clerk.claims()).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def with_public_key_as_secret(clerk: OwnClerk) -> str:
    """HS256 with what everyone can read: the oldest trick."""
    pem = private_key(0).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "kid": "first", "typ": "JWT"}
    unsigned = forged(clerk, header).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(unsigned.encode(), pem)
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def signed_by(clerk: OwnClerk, number: int, **header: Any) -> str:
    return jwt.encode(clerk.claims(), private_key(number), "RS256", headers={"kid": "first"} | header)


BAD = {
    "no algorithm": lambda clerk: forged(clerk, {"alg": "none", "kid": "first"}),
    "no signature": lambda clerk: clerk.token().rpartition(".")[0] + ".",
    "the public key as a secret": with_public_key_as_secret,
    "another key under a known id": lambda clerk: signed_by(clerk, 7),
    "a key that it brings along": lambda clerk: signed_by(clerk, 7, jwk=public_jwk("first", 7)),
    "another algorithm": lambda clerk: jwt.encode(clerk.claims(), private_key(0), "RS512", headers={"kid": "first"}),
    "no key id": lambda clerk: jwt.encode(clerk.claims(), private_key(0), "RS256"),
    "an OAuth client's": lambda clerk: signed_by(clerk, 0, typ="at+jwt"),
    "what must be understood": lambda clerk: signed_by(clerk, 0, crit=["x"], x=1),
    "a header without end": lambda _: base64.urlsafe_b64encode(b"[" * 4000).rstrip(b"=").decode() + ".e30.eA",
    "a header that is a list": lambda clerk: forged(clerk, []),  # type: ignore[arg-type]
    "no JSON": lambda _: "YWJj.YWJj.YWJj",
    "another's claims under a good signature": lambda clerk: ".".join(
        (clerk.token("user_bob").split(".")[0], clerk.token().split(".")[1], clerk.token("user_bob").split(".")[2])
    ),
    "expired": lambda clerk: clerk.token(lasts_s=-6),
    "not yet good": lambda clerk: clerk.token(nbf=clerk.claims()["iat"] + 7),
    "issued in the future": lambda clerk: clerk.token(iat=clerk.claims()["iat"] + 7),
    "without an end": lambda clerk: clerk.token(exp=None),
    "another issuer's": lambda clerk: clerk.token(iss="https://clerk.evil.example"),
    "another page's": lambda clerk: clerk.token(azp="https://evil.example"),
    "meant for another": lambda clerk: clerk.token(aud="https://other.example"),
    "no session's": lambda clerk: clerk.token(sid=None),
    "an unfinished session's": lambda clerk: clerk.token(sts="pending"),
    "a user id that is a path": lambda clerk: clerk.token("../user_bob"),
    "too long": lambda clerk: clerk.token(extra="x" * 8192),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_token_that_is_not_good_lets_nobody_in(world: World, clerk: OwnClerk, kind: str) -> None:
    token = BAD[kind](clerk)
    for answer in (await asked(world, token), await asked(world, Cookie=f"__session={token}")):
        assert answer.status_code == 401, kind
        assert answer.headers["www-authenticate"] == "Bearer"
        assert token not in answer.text
    assert await world.parts.auth.by_secret(token) is None


@pytest.mark.parametrize(
    "change",
    [{"lasts_s": -3}, {"nbf_in": 3}, {"azp": None}, {"azp": PAGE}],
    ids=["just expired", "good in a moment", "of no page", "of an allowed page"],
)
async def test_tokens_within_the_skew_and_of_our_pages_are_good(
    world: World, clerk: OwnClerk, change: dict[str, Any]
) -> None:
    change = {"nbf": clerk.claims()["iat"] + change["nbf_in"]} if "nbf_in" in change else change
    assert (await asked(world, clerk.token(**change))).status_code == 200


async def test_parties_that_an_operator_names_are_the_only_ones(clerk: OwnClerk) -> None:
    async with started(clerk.settings(clerk_authorized_parties="https://one.example, https://two.example/")) as world:
        for azp, status in (("https://one.example", 200), ("https://two.example", 200), (ORIGIN, 401)):
            assert (await asked(world, clerk.token(azp=azp))).status_code == status


async def test_a_cookie_acts_only_from_our_pages_a_header_from_anywhere(world: World, clerk: OwnClerk) -> None:
    cookie = f"__session_a1b2c3d4={clerk.token()}"
    for origin, status in ((None, 403), ("null", 403), ("https://evil.example", 403), (ORIGIN, 200), (PAGE, 200)):
        headers = {"Cookie": cookie} | ({"Origin": origin} if origin else {})
        assert (await asked(world, method="DELETE", **headers)).status_code == status, origin
    assert (await asked(world, clerk.token(), method="DELETE", Origin="https://evil.example")).status_code == 200
    assert (await asked(world, method="DELETE", Cookie="__session=stale; other=1")).status_code == 403
    assert (await asked(world, method="DELETE", Cookie="other=1", Origin=ORIGIN)).status_code == 401


async def test_of_several_cookies_the_newest_good_one_counts(world: World, clerk: OwnClerk) -> None:
    old, now = clerk.claims("user_bob")["iat"] - 30, clerk.claims()["iat"]
    tokens = [
        clerk.token("user_bob", iat=old, nbf=old), clerk.token("user_ada", iat=now),
        clerk.token("user_eve", iat=now, exp=now - 20), clerk.token("user_eve", iat=now, iss="https://other.example"),
    ]  # fmt: skip
    for order in (tokens, tokens[::-1]):
        cookies = "; ".join(f"__session_{number}={token}" for number, token in enumerate(order))
        assert [row["jobId"] for row in (await asked(world, Cookie=cookies)).json()] == ["ada-1"]


async def test_a_socket_takes_a_token_in_its_first_message_and_a_cookie_from_our_pages(
    world: World, clerk: OwnClerk
) -> None:
    cookie = {"Cookie": f"__session={clerk.token()}"}
    async with serving(world) as address:
        async with socket(address, clerk.token(), subscribe={}) as one:
            (snapshot,) = await one.until(lambda frame: frame["type"] == "snapshot")
            assert [row["jobId"] for row in snapshot["jobs"]] == ["ada-1"]
        async with socket(address, additional_headers=cookie, origin=ORIGIN) as one:  # type: ignore[arg-type]
            await one.send(type="auth")
            assert (await one.receive())["type"] == "welcome"
        async with socket(address, additional_headers=cookie) as one:
            await one.send(type="auth")
            assert await one.closed() == CloseCode.UNAUTHORIZED, "a browser would have said which page it is"
        with pytest.raises(InvalidStatus):
            async with socket(address, additional_headers=cookie, origin="https://evil.example"):  # type: ignore[arg-type]
                pass
        async with socket(address) as one:
            await one.send(type="auth", token=clerk.token(lasts_s=-60))
            assert await one.closed() == CloseCode.UNAUTHORIZED


async def test_an_operator_is_told_what_may_have_to_be_mended_and_nobody_what_a_token_says(
    world: World, clerk: OwnClerk
) -> None:
    foreign, page = clerk.token(iss="https://other.example"), clerk.token(azp="https://other.example")
    with structlog.testing.capture_logs() as logs:
        for token in (foreign, page, clerk.token(lasts_s=-60)):
            await asked(world, token)
        await asked(world, Cookie=f"__session={foreign}")
    said = [line["reason"] for line in logs if line["event"] == "token_refused"]
    assert said == [Doubt.ISSUER.value, Doubt.PARTY.value]
    for secret in (foreign, page, "other.example", "user_ada"):
        assert secret not in repr(logs)


@pytest.fixture
async def issuer() -> AsyncIterator[OwnClerk]:
    """One for a test that takes its keys away."""
    async with own_clerk() as one:
        yield one


async def test_a_rotated_key_is_believed_soon_and_the_old_one_no_more(issuer: OwnClerk) -> None:
    async with started(issuer.settings(clerk_cooldown_seconds=0.05)) as world:
        old = issuer.token()
        assert (await asked(world, old)).status_code == 200
        issuer.keys = {"second": 1}
        new = issuer.token(kid="second")

        async def believed() -> bool:
            return (await asked(world, new)).status_code == 200

        await eventually(believed)
        assert (await asked(world, old)).status_code == 401


async def test_a_flood_of_forged_keys_is_refused_and_the_issuer_does_not_hear_of_it(issuer: OwnClerk) -> None:
    async with started(issuer.settings(clerk_cooldown_seconds=300)) as world:
        await until(lambda: issuer.asked == 1)
        good = issuer.token()
        for number in range(300):
            issuer.keys[f"forged-{number}"] = 7
            forgery = issuer.token(kid=f"forged-{number}")
            assert (await asked(world, forgery)).status_code == 401
        assert (await asked(world, good)).status_code == 200
        assert issuer.asked == 1


async def test_before_there_are_keys_it_is_a_503_and_never_a_401(issuer: OwnClerk) -> None:
    await issuer.stop()
    token = issuer.token()
    async with started(issuer.settings(clerk_cooldown_seconds=0.05)) as world:
        for answer in (await asked(world, token), await asked(world, Cookie=f"__session={token}")):
            assert (answer.status_code, answer.json()["missing"]) == (503, ["identity"])
            assert "retry-after" in answer.headers
        assert (await asked(world, await world.key())).status_code == 200, "keys need no issuer"
        assert (await asked(world, "garbage")).status_code == 401
        async with serving(world) as address, socket(address) as one:
            await one.send(type="auth", token=token)
            assert await one.closed() == CloseCode.NOT_READY
        await issuer.start()

        async def let_in() -> bool:
            return (await asked(world, token)).status_code == 200

        await eventually(let_in)


async def test_while_the_issuer_is_away_its_keys_stay_good(issuer: OwnClerk) -> None:
    async with started(issuer.settings(clerk_cooldown_seconds=0.05)) as world:
        assert (await asked(world, issuer.token())).status_code == 200
        await issuer.stop()
        issuer.keys["second"] = 1

        async def cannot_tell() -> bool:
            return (await asked(world, issuer.token(kid="second"))).status_code == 503

        await eventually(cannot_tell)
        good = f"__session={issuer.token()}; __session_x={issuer.token(kid='second')}"
        assert (await asked(world, issuer.token())).status_code == 200
        assert (await asked(world, Cookie=good)).status_code == 200, "one good cookie is enough"
