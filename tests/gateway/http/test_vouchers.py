"""Vouchers over HTTP, in OpenV's bodies, words and order."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gateway.http.vouchers import LIFE_MS
from repo.clock import now_ms
from schemas.access import Person, Scope, Voucher
from schemas.accounts import Account, Role, VoucherUse
from schemas.api.access import voucher_document
from schemas.commands import RedeemVoucher
from schemas.instants import to_iso
from tests.gateway.clerk import own_clerk
from tests.gateway.world import World, settings, started, until

USED = "You have already used this voucher code"


async def put_voucher(world: World, code: str = "SPRING", **changes: Any) -> Voucher:
    now = now_ms()
    made = Voucher(code=code, created_by="root", created_at=now, updated_at=now, expires_at=now + LIFE_MS)
    voucher = replace(made, **changes)
    assert await world.database.access.create_voucher(voucher)
    return voucher


async def redeem(http: httpx.AsyncClient, code: Any = "SPRING") -> httpx.Response:
    return await http.put("/api/voucher", json={"code": code})


def said(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


async def test_an_admin_makes_a_code_that_is_good_for_thirty_days(world: World) -> None:
    async with world.client("root", role=Role.ADMIN) as http:
        answer = await http.post("/api/voucher", json={"code": "SPRING"})
        assert answer.status_code == 200
        made = answer.json()
        assert set(made) == {"id", "code", "createdAt", "updatedAt", "expiresAt", "isActive", "createdBy"}
        assert (made["code"], made["isActive"], made["createdBy"]) == ("SPRING", True, "root")
        stored = await world.database.access.voucher("SPRING")
        assert stored is not None
        assert stored.expires_at - stored.created_at == 30 * 86_400_000
        assert made["expiresAt"] == to_iso(stored.expires_at)
        taken = await http.post("/api/voucher", json={"code": "SPRING"})
        assert said(taken) == (409, {"message": "This voucher code is taken; choose another"})
        other = await http.post("/api/voucher", json={"code": "spring"})
        assert other.status_code == 200, "capitals count"
        listed = (await http.get("/api/vouchers")).json()["vouchers"]
        assert listed == [other.json(), made]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Voucher code is required"),
        (b"{", "Voucher code is required"),
        (b"[]", "Voucher code is required"),
        (b"null", "Voucher code is required"),
        (b"{}", "Voucher code is required"),
        (b'{"code":""}', "Voucher code is required"),
        (b'{"code":"   "}', "Voucher code is required"),
        (b'{"code":null}', "Voucher code is required"),
        (b'{"code":0}', "Voucher code is required"),
        (b'{"code":17}', "Invalid voucher code"),
        (b'{"code":["SPRING"]}', "Invalid voucher code"),
        (b'{"code":{"$ne":null}}', "Invalid voucher code"),
    ],
)
async def test_bodies_without_a_code(world: World, body: bytes, words: str) -> None:
    await put_voucher(world)
    async with world.client("root", role=Role.ADMIN) as http:
        for method in ("POST", "PUT"):
            answer = await http.request(method, "/api/voucher", content=body)
            assert said(answer) == (400, {"message": words})
    assert [one.code for one in await world.database.access.vouchers()] == ["SPRING"]
    assert not [one for one in world.ledger.heard if isinstance(one, RedeemVoucher)]


ODD = [" SPRING", "SPRING ", "spring", "SPRING\0", "SPRINĠ", "\u202eSPRING", "$ne", "a" * 65, "a/b", "../SPRING", "🎬"]


@pytest.mark.parametrize("code", ODD)
async def test_odd_codes_are_no_vouchers_and_none_is_made_of_them(world: World, code: str) -> None:
    await put_voucher(world)
    async with world.client("root", role=Role.ADMIN) as http:
        assert said(await redeem(http, code)) == (400, {"message": "Invalid voucher code"})
        if code != "spring":
            made = await http.post("/api/voucher", json={"code": code})
            assert made.status_code == 400
            assert made.json()["message"].startswith("A voucher code has 1 to 64 letters")
        assert (await http.put("/api/voucher", content=b'{"code":"' + b"a" * 5_000 + b'"}')).status_code == 413


async def test_a_restricted_user_redeems_and_may_make_videos(world: World) -> None:
    voucher = await put_voucher(world)
    told = Person(user_id="eve", updated_at=1, email="eve@videos.test", first_name="Eve")
    await world.database.access.store_person(told)
    async with world.client("eve", role=Role.RESTRICTED) as http:
        before = await http.get("/api/voucher")
        nothing = {"voucher_used": None, "voucher_used_at": None, "voucher_details": None}
        assert said(before) == (200, {"role": "restricted", **nothing})
        assert (await http.post("/api/runpod", json={"prompt": "a"})).status_code == 403
        answer = await redeem(http)
        assert (answer.status_code, answer.json()["message"]) == (200, "Voucher applied successfully")
        account = await world.store.account("eve")
        assert account is not None
        assert (account.role, [one.code for one in account.vouchers]) == (Role.USER, ["SPRING"])
        used_at = to_iso(account.vouchers[0].used_at)
        assert answer.json()["user"] == {
            "user_id": "eve",
            "role": "user",
            "voucher_used": "SPRING",
            "voucher_used_at": used_at,
            "email": "eve@videos.test",
            "first_name": "Eve",
            "last_name": None,
            "profile_image_url": None,
        }
        assert (await http.post("/api/runpod", json={"prompt": "a"})).status_code == 200
        after = (await http.get("/api/voucher")).json()
        assert (after["role"], after["voucher_used"], after["voucher_used_at"]) == ("user", "SPRING", used_at)
        details = after["voucher_details"]
        assert (details["code"], details["isActive"]) == ("SPRING", True)
        assert details["expiresAt"] == to_iso(voucher.expires_at)
        assert "createdBy" not in details
        assert said(await redeem(http)) == (400, {"message": USED})


async def test_a_voucher_that_the_ledger_sets_aside_is_not_worth_another_try(world: World) -> None:
    await put_voucher(world)
    world.ledger.damaged = True
    async with world.client() as http:
        answer = await redeem(http)
        assert (answer.status_code, answer.json()["code"]) == (500, "damaged_document")
        assert "retry-after" not in answer.headers
        world.ledger.damaged = False
        assert (await redeem(http)).status_code == 200


async def test_whom_the_identity_provider_names_is_restricted_until_a_voucher() -> None:
    """As with OpenV: signed up, nobody gave a role, a code in hand."""
    async with own_clerk() as clerk, started(clerk.settings()) as world:
        await put_voucher(world)
        async with world.client(None) as http:
            http.headers["Authorization"] = f"Bearer {clerk.token('user_eve')}"
            refused = await http.post("/api/runpod", json={"prompt": "a"})
            assert said(refused) == (403, {"message": "This action requires user role"})
            assert (await http.get("/api/voucher")).json()["role"] == "restricted"
            applied = await redeem(http)
            assert (applied.status_code, applied.json()["user"]["role"]) == (200, "user")
            assert (await http.post("/api/runpod", json={"prompt": "a"})).status_code == 200
            opened = await world.parts.auth.by_ticket((await http.post("/api/live/ticket")).json()["ticket"])
        assert opened is not None
        assert (opened.user_id, opened.role, opened.key_hash) == ("user_eve", Role.USER, None)
        assert opened.expires_at is not None
        assert opened.expires_at <= now_ms() + 60_000, "the session's end, not the ticket's"


async def test_each_refusal_in_openvs_words(world: World) -> None:
    now = now_ms()
    await put_voucher(world, "OFF", is_active=False)
    await put_voucher(world, "OLD", expires_at=now - 1)
    await put_voucher(world, "OFF-AND-OLD", is_active=False, expires_at=now - 1)
    async with world.client() as http:
        assert said(await redeem(http, "NONE")) == (400, {"message": "Invalid voucher code"})
        assert said(await redeem(http, "OFF")) == (400, {"message": "Voucher is inactive"})
        for _ in range(2):
            assert said(await redeem(http, "OLD")) == (400, {"message": "Voucher has expired"})
        assert said(await redeem(http, "OFF-AND-OLD")) == (400, {"message": "Voucher is inactive"})
    assert not [one for one in world.ledger.heard if isinstance(one, RedeemVoucher)]


@pytest.mark.parametrize("changes", [{"is_active": False}, {"expires_at": 1}, None])
async def test_whoever_has_used_a_code_hears_that_first(world: World, changes: dict[str, Any] | None) -> None:
    """Also of one that is inactive, expired or gone by now."""
    if changes is not None:
        await put_voucher(world, **changes)
    use = VoucherUse(code="SPRING", command_id="c", used_at=5)
    assert await world.store.store_account(Account(user_id="ada", version=1, vouchers=(use,)), 0)
    async with world.client() as http:
        assert said(await redeem(http)) == (400, {"message": USED})
        status = (await http.get("/api/voucher")).json()
        assert status["voucher_used"] == "SPRING"
        assert (status["voucher_details"] is None) == (changes is None)


async def test_it_expires_after_its_last_instant() -> None:
    now = now_ms()
    async with started(settings(voucher_tries=1_000), now=lambda: now) as world, world.client() as http:
        voucher = await put_voucher(world)
        now = voucher.expires_at + 1
        assert said(await redeem(http)) == (400, {"message": "Voucher has expired"})
        now = voucher.expires_at
        await until(lambda: not world.parts.probes.missing())
        # The ledger of this world keeps its own time, in which so late a command is still in time.
        assert (await redeem(http)).status_code == 200


async def test_any_number_of_tabs_at_two_gateways_redeem_it_once() -> None:
    generous = settings(voucher_tries=100)
    async with started(generous) as one, started(generous, world=one) as two:
        await put_voucher(one)
        async with one.client("eve") as here, two.client("eve") as there:
            answers = await asyncio.gather(*(redeem(http) for http in (here, there) for _ in range(10)))
        assert sorted(one.status_code for one in answers) == [200] + [400] * 19
        assert {one.json()["message"] for one in answers if one.status_code == 400} == {USED}
        account = await one.store.account("eve")
        assert account is not None
        assert len(account.vouchers) == 1


async def test_deactivated_nobody_redeems_it_and_who_has_keeps_it(world: World) -> None:
    await put_voucher(world)
    async with world.client("root", role=Role.ADMIN) as admin, world.client("ada") as ada, world.client("bob") as bob:
        assert (await redeem(ada)).status_code == 200
        for _ in range(2):
            gone = await admin.delete("/api/voucher/SPRING")
            assert (gone.status_code, gone.json()["isActive"]) == (200, False)
        assert said(await redeem(bob)) == (400, {"message": "Voucher is inactive"})
        assert (await ada.get("/api/voucher")).json()["role"] == "user"
        assert said(await admin.delete("/api/voucher/NONE")) == (404, {"message": "There is no such voucher"})


async def test_only_admins_make_list_and_end_vouchers(world: World) -> None:
    await put_voucher(world)
    wishes = [("POST", "/api/voucher"), ("GET", "/api/vouchers"), ("DELETE", "/api/voucher/SPRING")]
    for how in ({}, {"role": Role.RESTRICTED}, {"role": Role.ADMIN, "scopes": (Scope.READ, Scope.WRITE)}):
        async with world.client("eve", **how) as http:
            for method, path in wishes:
                answer = await http.request(method, path, json={"code": "MINE"})
                assert answer.status_code == 403
                assert "SPRING" not in answer.text
    async with world.client(None) as http:
        for method, path in [*wishes, ("PUT", "/api/voucher"), ("GET", "/api/voucher")]:
            assert said(await http.request(method, path)) == (401, {"message": "Unauthorized"})
    assert [(one.code, one.is_active) for one in await world.database.access.vouchers()] == [("SPRING", True)]


async def test_guessing_is_shed() -> None:
    async with started(settings(voucher_tries=3)) as world, world.client() as http:
        answers = [await redeem(http, f"GUESS-{number}") for number in range(5)]
        assert [one.status_code for one in answers] == [400, 400, 400, 429, 429]
        async with world.client("bob") as other:
            assert (await redeem(other, "GUESS")).status_code == 400, "a crowd of one's own"


async def test_a_blocked_user_is_told_so(world: World) -> None:
    await put_voucher(world)
    assert await world.store.store_account(Account(user_id="ada", version=1, blocked=True), 0)
    async with world.client() as http:
        assert (await redeem(http)).status_code == 403
    account = await world.store.account("ada")
    assert account is not None
    assert account.vouchers == ()


async def test_not_decided_in_time_is_202_and_not_recorded_is_503() -> None:
    async with started(settings(decision_timeout_seconds=0.2)) as world, world.client() as http:
        await put_voucher(world)
        world.ledger.silent = True
        answer = await redeem(http)
        assert answer.status_code == 202
        assert answer.json()["user"] is None
        with world.kafka_away():
            await until(lambda: not world.parts.probes.answers("kafka"))
            answer = await redeem(http)
        assert (answer.status_code, answer.json()["error"]) == (503, "The voucher could not be recorded; try again")
        assert "retry-after" in answer.headers
        world.database.away = True
        answer = await redeem(http)
        assert (answer.status_code, answer.json()["missing"]) == (503, ["mongodb"])


async def test_a_role_that_an_operator_set_in_the_ledgers_future_is_try_again(world: World) -> None:
    await put_voucher(world)
    later = Account(user_id="ada", version=1, role=Role.RESTRICTED, role_issued_at=now_ms() + 60_000)
    assert await world.store.store_account(later, 0)
    async with world.client() as http:
        answer = await redeem(http)
    assert (answer.status_code, answer.json()["error"]) == (503, "The voucher could not be recorded; try again")


def test_ids_of_vouchers_are_whole_numbers_that_browsers_can_hold() -> None:
    at = 1_800_000_000_000
    made = Voucher(code="A", created_by="x", created_at=at, updated_at=at, expires_at=at)
    assert 0 < voucher_document(made).id < 2**53
