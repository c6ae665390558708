"""A socket's ticket: what it opens, how often, for how long, and what it never opens."""

import asyncio
from dataclasses import replace

import pytest

from gateway.identity.auth import Authenticator
from gateway.identity.keys import hash_of, is_key, is_ticket, new_key
from gateway.identity.principal import Principal, Way
from repo.clock import now_ms
from repo.ports import Unavailable
from schemas.access import KeyKind, Scope
from schemas.accounts import Account, Role
from tests.gateway.world import World, settings, started


def auth_of(world: World) -> Authenticator:
    return world.parts.auth


async def ticket_of(world: World, secret: str) -> str:
    async with world.client(None) as http:
        answer = await http.post("/api/live/ticket", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert set(said) == {"ticket", "expiresInSeconds"}
    assert said["expiresInSeconds"] == 30
    return str(said["ticket"])


async def test_it_stands_for_its_maker_once(world: World) -> None:
    secret = await world.key("ada", scopes=(Scope.READ,), role=Role.ADMIN)
    ticket = await ticket_of(world, secret)
    stored = await world.database.access.api_key(hash_of(ticket))
    assert stored is not None
    assert (stored.kind, stored.parent_hash, stored.scopes) == (KeyKind.TICKET, hash_of(secret), (Scope.READ,))
    assert ticket not in repr(stored)
    principal = await auth_of(world).by_ticket(ticket)
    assert principal == Principal("ada", Role.ADMIN, hash_of(secret), Way.TICKET, frozenset({Scope.READ}), None)
    assert await auth_of(world).by_ticket(ticket) is None


async def test_of_any_number_that_race_one_gets_in() -> None:
    async with started() as one, started(world=one) as two:
        ticket = await ticket_of(one, await one.key("ada"))
        racing = [auth_of(world).by_ticket(ticket) for world in (one, two) for _ in range(25)]
        assert len([who for who in await asyncio.gather(*racing) if who]) == 1


async def test_it_is_no_key_and_opens_no_page_and_nothing_else_is_a_ticket(world: World) -> None:
    secret = await world.key("ada")
    ticket = await ticket_of(world, secret)
    auth = auth_of(world)
    assert is_ticket(ticket)
    assert not is_key(ticket)
    async with world.client(None) as http:
        refused = [
            await http.get("/api/videos", headers={"Authorization": f"Bearer {ticket}"}),
            await http.get("/api/videos", headers={"Authorization": ticket}),
            await http.get("/api/videos", headers={"Cookie": f"{auth.cookie}={ticket}"}),
        ]
        assert {one.status_code for one in refused} == {401}
        assert (await http.get(f"/?token={ticket}")).headers["location"] == "/#token-used"
    assert await auth.by_secret(ticket) is None
    assert await auth.by_hash(hash_of(ticket)) is None
    link, stored = new_key("ada", now=now_ms(), kind=KeyKind.PAGE_LINK)
    await world.database.access.store_api_key(stored)
    session = await auth.open_session(link)
    assert session is not None
    link, stored = new_key("ada", now=now_ms(), kind=KeyKind.PAGE_LINK)
    await world.database.access.store_api_key(stored)
    for other in (secret, session, link, f"ovt_{link[3:]}", "", "ovt_", "ovt_" + "a" * 43, ticket + "a"):
        assert await auth.by_ticket(other) is None
    assert await auth.open_session(link) is not None, "asking for it as a ticket has not used it up"
    assert await auth.by_ticket(ticket) is not None, "and none of this has used up the ticket"


@pytest.mark.parametrize("kind", [KeyKind.KEY, KeyKind.SESSION, KeyKind.PAGE_LINK])
async def test_a_secret_in_a_tickets_form_of_another_kind_is_none(world: World, kind: KeyKind) -> None:
    secret, stored = new_key("ada", now=now_ms(), kind=KeyKind.TICKET)
    await world.database.access.store_api_key(replace(stored, kind=kind))
    assert await auth_of(world).by_ticket(secret) is None


async def test_it_ends_with_the_time_the_key_and_the_account() -> None:
    now = now_ms()
    async with started(settings(ticket_seconds=30), now=lambda: now) as world:
        secret = await world.key("ada")
        late = await ticket_of(world, secret)
        now += 30_000
        assert await auth_of(world).by_ticket(late) is None
        revoked = await ticket_of(world, secret)
        assert await world.database.access.revoke_api_key(hash_of(secret), now)
        now += 20_000  # the key is no longer remembered
        assert await auth_of(world).by_ticket(revoked) is None
        other = await world.key("bob")
        deleted = await ticket_of(world, other)
        gone = Account(user_id="bob", version=1, deleted_at=now, deleted_issued_at=now)
        assert await world.store.store_account(gone, 0)
        world.parts.accounts.forget("bob")
        assert await auth_of(world).by_ticket(deleted) is None


async def test_of_a_session_that_ends_it_says_when_and_is_not_good_after() -> None:
    now = now_ms()
    async with started(now=lambda: now) as world:
        auth, ends = auth_of(world), now + 5_000
        identity = Principal("ada", Role.USER, way=Way.IDENTITY, expires_at=ends)
        first, second = await auth.new_ticket(identity), await auth.new_ticket(identity)
        opened = await auth.by_ticket(first)
        assert opened is not None
        assert (opened.user_id, opened.role, opened.way) == ("ada", Role.USER, Way.TICKET)
        assert (opened.key_hash, opened.expires_at) == (None, ends)
        now = ends
        assert await auth.by_ticket(second) is None
        third = await auth.new_ticket(Principal("ada", Role.ADMIN, way=Way.IDENTITY, expires_at=now + 60_000))
        demoted = Account(user_id="ada", version=1, role=Role.USER, role_issued_at=now + 1)
        assert await world.store.store_account(demoted, 0)
        world.parts.accounts.forget("ada")
        now += 2
        opened = await auth.by_ticket(third)
        assert opened is not None
        assert opened.role is Role.USER, "what the account says now"


async def test_floods_are_shed_a_user_at_a_time() -> None:
    async with started(settings(ticket_requests=3)) as world, world.client() as http:
        answers = [await http.post("/api/live/ticket") for _ in range(5)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        async with world.client("bob") as other:
            assert (await other.post("/api/live/ticket")).status_code == 200


async def test_a_page_of_somebody_elses_gets_none(world: World) -> None:
    secret = await world.key("ada")
    async with world.client(None) as http:
        http.cookies.set(auth_of(world).cookie, secret)
        assert (await http.post("/api/live/ticket", headers={"Origin": "http://evil.test"})).status_code == 403
        assert (await http.post("/api/live/ticket", headers={"Origin": "http://videos.test"})).status_code == 200


async def test_mongodb_away_uses_nothing_up(world: World) -> None:
    secret = await world.key("ada")
    ticket = await ticket_of(world, secret)
    world.database.away = True
    with pytest.raises(Unavailable):
        await auth_of(world).by_ticket(ticket)
    async with world.client(None) as http:
        answer = await http.post("/api/live/ticket", headers={"Authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json()["missing"]) == (503, ["mongodb"])
    world.database.away = False
    assert await auth_of(world).by_ticket(ticket) is not None
