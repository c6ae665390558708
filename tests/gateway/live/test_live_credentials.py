"""What a live connection may show for itself: keys, tickets, tokens that end; and what ends it from outside."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from websockets.exceptions import InvalidStatus

from gateway.identity.principal import Principal
from gateway.live import watch
from repo.clock import now_ms
from schemas.access import Scope
from schemas.accounts import Account, Role
from schemas.api.live import CloseCode
from schemas.codec import encode
from schemas.events import AccountEvent
from tests.gateway.sockets import Client, serving, socket
from tests.gateway.world import World, job, settings, started, until


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with serving(world) as made:
        yield made


@pytest.fixture
async def still() -> AsyncIterator[World]:
    """A world whose clock stands still, so that a credential can't end before it was shown; the wheel turns on."""
    at = now_ms()
    async with started(now=lambda: at) as made:
        yield made


async def ticket_of(world: World, user_id: str = "ada", **how: object) -> str:
    """A ticket of a caller without a key, as the identity provider names one."""
    return await world.parts.auth.new_ticket(Principal(user_id, Role.USER, **how))  # type: ignore[arg-type]


async def welcome(client: Client) -> dict[str, object]:
    frame = await client.receive()
    assert frame["type"] == "welcome", frame
    return frame


async def test_a_ticket_in_the_address_opens_one_socket(world: World, address: str) -> None:
    ticket = await ticket_of(world)
    async with socket(address, query=f"?ticket={ticket}") as client:
        assert (await welcome(client))["userId"] == "ada"
        await client.send(type="subscribe")
        assert (await client.receive())["type"] == "snapshot"
    async with socket(address, query=f"?ticket={ticket}") as client:
        assert await client.closed() == CloseCode.UNAUTHORIZED


async def test_a_ticket_may_come_in_the_first_message_and_ends_with_the_key_it_was_made_with() -> None:
    quick = settings(key_cache_seconds=0.05, socket_heartbeat_seconds=0.1)
    async with started(quick) as world, serving(world) as address:
        caller = await world.parts.auth.by_secret(await world.key())
        assert caller is not None
        async with socket(address, await world.parts.auth.new_ticket(caller)) as client:
            (stored,) = await world.database.access.api_keys("ada")
            await world.database.access.store_api_key(replace(stored, revoked_at=now_ms()))
            assert await client.closed() == CloseCode.REVOKED


@pytest.mark.parametrize("query", ["?ticket=", "?ticket=ov_wrong", "?ticket=" + "x" * 4000, "?ticket=%00%ff"])
async def test_what_is_no_ticket_is_nobody(address: str, query: str) -> None:
    async with socket(address, query=query) as client:
        assert await client.closed() == CloseCode.UNAUTHORIZED


async def test_a_page_of_strangers_does_not_use_up_a_ticket(world: World, address: str) -> None:
    ticket = await ticket_of(world)
    with pytest.raises(InvalidStatus):
        async with socket(address, query=f"?ticket={ticket}", origin="http://evil.test"):
            pass
    async with socket(address, query=f"?ticket={ticket}") as client:
        await welcome(client)


async def test_the_end_of_a_credential_is_told_ahead_and_then_kept(
    still: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GRACE_MS", 100)
    ticket = await ticket_of(still, expires_at=still.parts.now() + 300)
    async with serving(still) as address, socket(address, query=f"?ticket={ticket}") as client:
        assert (await welcome(client))["expiresInMs"] == 300
        frame = await client.receive()
        assert frame["type"] == "expiring"
        assert 0 <= frame["expiresInMs"] <= 100
        assert await client.closed() == CloseCode.EXPIRED


async def test_a_later_credential_of_the_same_user_keeps_the_socket(
    still: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "GRACE_MS", 1_000)
    now = still.parts.now()
    ticket, later = [await ticket_of(still, expires_at=now + life) for life in (900, 60_000)]
    async with serving(still) as address, socket(address, query=f"?ticket={ticket}", subscribe={}) as client:
        ends_at = now_ms() + 900 + 1_000
        await client.until(lambda frame: frame["type"] == "expiring")
        await client.send(type="auth", token=later)
        assert (await welcome(client))["expiresInMs"] == 60_000
        await until(lambda: now_ms() > ends_at)
        await still.ledger.write(job("00000000-0000-4000-8000-000000000000"))
        assert (await client.receive())["type"] == "event"


async def test_a_renewal_that_is_not_good_is_told_and_changes_nothing(world: World, address: str) -> None:
    async with socket(address, await world.key()) as client:
        await client.send(type="auth", token="ov_wrong")
        assert (await client.receive())["code"] == "unauthorized"
        world.database.away = True
        await client.send(type="auth", token=await _unseen(world))
        assert (await client.receive())["code"] == "unavailable"
        world.database.away = False
        await client.send(type="ping")
        assert await client.receive() == {"type": "pong"}
        await client.send(type="auth", token=await world.key("eve"))
        assert await client.closed() == CloseCode.UNAUTHORIZED


async def _unseen(world: World) -> str:
    world.database.away = False
    secret = await world.key()
    world.database.away = True
    return secret


async def test_a_key_that_may_not_read_may_not_watch(world: World, address: str) -> None:
    async with socket(address) as client:
        await client.send(type="auth", token=await world.key(scopes=(Scope.WRITE,)))
        assert await client.closed() == CloseCode.SCOPE


async def test_without_the_terms_of_use_nobody_watches() -> None:
    async with started(settings(terms_required=True)) as world, serving(world) as address, socket(address) as client:
        await client.send(type="auth", token=await world.key())
        assert await client.closed() == CloseCode.TERMS


@pytest.mark.parametrize("change", [{"blocked": True}, {"deleted_at": 5}])
async def test_a_blocked_or_deleted_user_is_out_at_once(
    world: World, address: str, change: dict[str, bool | int]
) -> None:
    key = await world.key()
    async with (
        socket(address, key, subscribe={}) as watching,
        socket(address, key) as waiting,
        socket(address, await world.key("bob")) as other,
    ):
        assert (await watching.receive())["type"] == "snapshot"
        account = replace(Account(user_id="ada", version=1), **change)  # type: ignore[arg-type]
        await world.log.append(encode(AccountEvent(account), source="/test", at=now_ms()))
        assert await watching.closed() == CloseCode.ACCOUNT
        assert await waiting.closed() == CloseCode.ACCOUNT
        await other.send(type="ping")
        assert await other.receive() == {"type": "pong"}


async def test_a_blocked_user_does_not_come_in(world: World, address: str) -> None:
    key = await world.key()
    assert await world.store.store_account(Account(user_id="ada", version=1, blocked=True), 0)
    async with socket(address) as client:
        await client.send(type="auth", token=key)
        assert await client.closed() == CloseCode.ACCOUNT
    await until(lambda: not world.app.state.sockets.open)
    assert not world.app.state.sockets._of_user
