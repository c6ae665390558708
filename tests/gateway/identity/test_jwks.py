"""The issuer's keys over real HTTP: rotation, an issuer that is away, strangers who name keys that are not there."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import structlog
from jwt.algorithms import RSAAlgorithm

from gateway.identity import jwks
from gateway.identity.jwks import BYTES_MAX, Keys, keys_of
from gateway.identity.settings import JWKS_PATH
from repo.ports import Unavailable
from tests.gateway.clerk import OwnClerk, own_clerk, private_key, public_jwk
from tests.gateway.world import until

COOLDOWN_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clerk() -> AsyncIterator[OwnClerk]:
    async with own_clerk() as one:
        yield one


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(clerk: OwnClerk, clock: Clock) -> AsyncIterator[Keys]:
    one = Keys(clerk.issuer + JWKS_PATH, cooldown_s=COOLDOWN_S, clock=clock)
    yield one
    await one._http.aclose()


async def test_a_new_key_is_found_after_the_cooldown_and_the_old_one_ends_then(
    keys: Keys, clerk: OwnClerk, clock: Clock
) -> None:
    first = await keys.key("first")
    assert first is not None
    assert first.public_numbers() == private_key(0).public_key().public_numbers()
    clerk.keys = {"second": 1}
    assert await keys.key("second") is None, "asked a moment ago"
    clock.now += COOLDOWN_S
    second = await keys.key("second")
    assert second is not None
    assert second.public_numbers() == private_key(1).public_key().public_numbers()
    clock.now += COOLDOWN_S
    assert await keys.key("first") is None


async def test_any_number_of_unknown_keys_is_asked_for_once_in_the_cooldown(
    keys: Keys, clerk: OwnClerk, clock: Clock
) -> None:
    assert await keys.key("first")
    for turn in (1, 2, 3):
        clock.now += COOLDOWN_S
        found = await asyncio.gather(*(keys.key(f"forged-{turn}-{number}") for number in range(500)))
        assert found == [None] * 500
        assert [await keys.key(f"late-{turn}-{number}") for number in range(500)] == [None] * 500
        assert clerk.asked == 1 + turn
    assert await keys.key("first")
    assert clerk.asked == 4


async def test_a_known_key_waits_for_nobody_and_all_who_wait_wait_for_one_fetch(
    keys: Keys, clerk: OwnClerk, clock: Clock
) -> None:
    assert await keys.key("first")
    clock.now += COOLDOWN_S
    clerk.keys["second"] = 1
    clerk.answers.clear()
    waiting = [asyncio.create_task(keys.key("second")) for _ in range(50)]
    await until(lambda: clerk.asked == 2)
    assert await keys.key("first")
    for one in waiting[:25]:
        one.cancel()  # their clients have left
    clerk.answers.set()
    assert all(await asyncio.gather(*waiting[25:]))
    assert clerk.asked == 2


async def test_before_there_were_any_keys_nothing_can_be_told_and_a_storm_asks_rarely(
    keys: Keys, clerk: OwnClerk, clock: Clock
) -> None:
    clerk.status = 500
    for _ in range(3):
        for told in await asyncio.gather(*(keys.key("first") for _ in range(100)), return_exceptions=True):
            assert isinstance(told, Unavailable)
            assert told.server == "identity"
    assert clerk.asked == 1
    clerk.status = 200
    clock.now += COOLDOWN_S
    assert await keys.key("first")


async def test_while_it_is_away_the_old_keys_are_good_and_of_others_nothing_can_be_told(
    keys: Keys, clerk: OwnClerk, clock: Clock
) -> None:
    assert await keys.key("first")
    await clerk.stop()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            clock.now += 86_400
            with pytest.raises(Unavailable):
                await keys.key("second")
            assert await keys.key("first")
        clerk.keys["second"] = 1
        await clerk.start()
        clock.now += COOLDOWN_S
        assert await keys.key("second")
    assert [line["event"] for line in logs] == ["identity_keys_missing", "identity_keys_here"], (
        "said once, not each time"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no JSON", b"[]", b"null", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [1, null, {"kid": "x"}]}',
        json.dumps({"keys": [public_jwk("second", 1)]}).encode() + b" " * BYTES_MAX, b"[" * 5000, b"\xff\xfe",
    ],
)  # fmt: skip
async def test_an_answer_that_holds_no_keys_takes_none_away(
    keys: Keys, clerk: OwnClerk, clock: Clock, body: bytes
) -> None:
    assert await keys.key("first")
    clerk.body = body
    clock.now += COOLDOWN_S
    with pytest.raises(Unavailable):
        await keys.key("second")
    assert await keys.key("first")


async def test_a_redirect_is_not_followed(clerk: OwnClerk, keys: Keys) -> None:
    async with own_clerk() as other:
        clerk.status, clerk.headers = 302, {"Location": other.issuer + JWKS_PATH}
        with pytest.raises(Unavailable):
            await keys.key("first")
        assert other.asked == 0


async def test_an_issuer_that_does_not_answer_is_not_waited_for_for_long(
    clerk: OwnClerk, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_S", 0.2)
    clerk.answers.clear()
    with pytest.raises(Unavailable, match="within"):
        await keys.key("first")


async def test_they_are_fetched_at_start_kept_fresh_and_given_up_at_the_end(clerk: OwnClerk) -> None:
    clerk.status = 503
    keys = Keys(clerk.issuer + JWKS_PATH, cooldown_s=0.01, fresh_s=0.01)
    running = asyncio.create_task(keys.run())
    await until(lambda: clerk.asked >= 2)
    clerk.status = 200
    await until(lambda: keys._keys is not None)
    clerk.keys = {"second": 1}
    await until(lambda: "second" in (keys._keys or ()))
    clerk.answers.clear()
    asked = clerk.asked
    await until(lambda: clerk.asked > asked)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: keys._asking is None)


def test_only_keys_for_signatures_are_taken() -> None:
    private = RSAAlgorithm.to_jwk(private_key(0), as_dict=True)
    listed = [
        public_jwk("good", 0),
        public_jwk("bare", 1, use=None, alg=None),
        public_jwk("for encryption", 0, use="enc"),
        public_jwk("of another algorithm", 0, alg="RS512"),
        public_jwk("damaged", 0, n="!"),
        public_jwk("", 0),
        {**private, "kid": "a private one"},
        public_jwk("kid", 0) | {"kid": 7},
        {**RSAAlgorithm.to_jwk(private_key(9, 1024).public_key(), as_dict=True), "kid": "short"},
        {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "EC", "kid": "curve", "crv": "P-256", "x": "a", "y": "b"},
    ]
    bare = {name: value for name, value in listed[1].items() if value is not None}
    assert set(keys_of({"keys": [listed[0], bare, *listed[2:]]})) == {"good", "bare"}
