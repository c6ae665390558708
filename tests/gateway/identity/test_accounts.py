"""What an account makes of a caller, how it is remembered, and when it is forgotten."""

import asyncio
from dataclasses import replace

import pytest

from gateway.identity.accounts import FRESH_MS, REMEMBERED_MAX, STALE_MS, Accounts, Standing
from gateway.identity.keys import new_key
from repo.memory import MemoryJobStore
from repo.ports import Unavailable
from schemas.access import ApiKey
from schemas.accounts import Account, Role, VoucherUse
from schemas.commands import SetRole
from tests.gateway.world import World, until

R, G, U, A = Role, Role.RESTRICTED, Role.USER, Role.ADMIN


class Store(MemoryJobStore):
    """Counts the reads, and lets a test hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def account(self, user_id: str) -> Account | None:
        self.reads += 1
        found = await super().account(user_id)  # what is stored when the question arrives
        await self.gate.wait()
        return found


async def role_of(accounts: Accounts, user_id: str) -> Role:
    """Of a user whom the identity provider names."""
    return (await accounts.standing(user_id)).of_identity()


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def accounts(store: Store, clock: Clock) -> Accounts:
    return Accounts(store, clock, Role.RESTRICTED)


async def put(store: Store, **changes: object) -> Account:
    before = await MemoryJobStore.account(store, "ada") or Account(user_id="ada")
    account = replace(before, version=before.version + 1, **changes)  # type: ignore[arg-type]
    assert await store.store_account(account, before.version)
    return account


def key(role: Role, at: int) -> ApiKey:
    return new_key("ada", now=at, role=role)[1]


def voucher(at: int) -> VoucherUse:
    return VoucherUse(code="c", command_id="v", used_at=at)


@pytest.mark.parametrize(
    ("account", "identity"),
    [
        (None, G),
        (Account(user_id="ada", version=3), G),  # known to the ledger, and nobody ever gave it a role
        (Account(user_id="ada", role=U, role_issued_at=1), U),
        (Account(user_id="ada", role=A, role_issued_at=1), A),
        (Account(user_id="ada", role=G, role_issued_at=1), G),
        (Account(user_id="ada", role=U, vouchers=(voucher(1),)), U),
        (Account(user_id="ada", role=A, role_issued_at=1, blocked=True), G),
        (Account(user_id="ada", role=U, role_issued_at=1, deleted_at=5), G),
    ],
)
async def test_the_role_of_whom_the_identity_provider_names(
    store: Store, accounts: Accounts, account: Account | None, identity: Role
) -> None:
    if account is not None:
        await put(store, **{name: getattr(account, name) for name in Account.__dataclass_fields__ if name != "version"})
    assert await role_of(accounts, "ada") is identity
    assert (await accounts.standing("ada")).deleted == (account is not None and account.deleted_at is not None)


async def test_the_default_role_is_the_deployments(store: Store, clock: Clock) -> None:
    assert await role_of(Accounts(store, clock, Role.USER), "ada") is Role.USER


# What the account says; the key's own role and when it was made; what counts.
@pytest.mark.parametrize(
    ("standing", "own", "made_at", "counts"),
    [
        (Standing(G), U, 5, U),  # the default limits no key
        (Standing(G), A, 5, A),
        (Standing(G), G, 5, G),
        (Standing(A, role_set_at=3), U, 5, U),  # none is raised by its account
        (Standing(U, role_set_at=3), A, 5, A),  # the key is the newer word
        (Standing(U, role_set_at=6), A, 5, U),  # the account is
        (Standing(A, role_set_at=6), U, 5, U),
        (Standing(G, role_set_at=3, restricted=True), A, 5, G),
        (Standing(G, role_set_at=6, restricted=True), U, 5, G),
        (Standing(U, role_set_at=3, raised_at=6), G, 5, U),  # a voucher redeemed since lifts a guest's key
        (Standing(U, raised_at=4), G, 5, G),  # not one made restricted after it
        (Standing(A, role_set_at=1, raised_at=6), G, 5, U),  # and never to admin
        (Standing(G, role_set_at=7, raised_at=6, restricted=True), G, 5, G),
        (Standing(A, blocked=True), A, 5, G),
        (Standing(U, deleted=True), U, 5, G),
    ],
)
def test_the_role_of_a_key_is_the_newest_word(standing: Standing, own: Role, made_at: int, counts: Role) -> None:
    assert standing.of_key(key(own, made_at)) is counts


async def test_an_account_is_read_once_in_a_while_and_served_stale_while_the_store_is_away(
    store: Store, accounts: Accounts, clock: Clock
) -> None:
    await put(store, role=U, role_issued_at=1)
    assert await role_of(accounts, "ada") is U
    clock.now += FRESH_MS - 1
    assert await role_of(accounts, "ada") is U
    assert store.reads == 1
    store.away = True
    clock.now = 1_000_000 + STALE_MS - 1
    assert await role_of(accounts, "ada") is U
    with pytest.raises(Unavailable):
        await role_of(accounts, "bob")
    clock.now += 1
    with pytest.raises(Unavailable):
        await role_of(accounts, "ada")
    store.away = False
    await put(store, role=A, role_issued_at=2)
    assert await role_of(accounts, "ada") is A


async def test_any_number_of_askers_are_one_read_and_one_who_leaves_stops_nobody(
    store: Store, accounts: Accounts
) -> None:
    await put(store, role=U, role_issued_at=1)
    store.gate.clear()
    asking = [asyncio.create_task(role_of(accounts, "ada")) for _ in range(50)]
    await until(lambda: store.reads)
    asking[0].cancel()
    await asyncio.gather(asking[0], return_exceptions=True)
    store.gate.set()
    assert set(await asyncio.gather(*asking[1:])) == {U}
    assert store.reads == 1


async def test_what_was_read_before_a_change_is_not_kept(store: Store, accounts: Accounts) -> None:
    store.gate.clear()
    early = asyncio.create_task(role_of(accounts, "ada"))
    await until(lambda: store.reads)
    await put(store, role=A, role_issued_at=1)
    accounts.forget("ada")
    late = asyncio.create_task(role_of(accounts, "ada"))
    await until(lambda: store.reads == 2)
    store.gate.set()
    assert await late is A
    assert await early is G, "it asked before"
    assert await role_of(accounts, "ada") is A
    assert store.reads == 2


async def test_a_failed_read_that_everybody_left_is_no_noise_and_the_next_one_asks_again(
    store: Store, accounts: Accounts
) -> None:
    store.away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await accounts.standing("ada")
    store.away = False
    assert await role_of(accounts, "ada") is G


async def test_only_so_many_are_remembered(store: Store, accounts: Accounts) -> None:
    for number in range(REMEMBERED_MAX + 1):
        await accounts.standing(f"user-{number}")
    before = store.reads
    await accounts.standing(f"user-{REMEMBERED_MAX}")
    assert store.reads == before
    await accounts.standing("user-0")
    assert store.reads == before + 1


async def test_an_account_event_is_heard_at_once(world: World) -> None:
    assert await role_of(world.parts.accounts, "ada") is Role.RESTRICTED
    command = SetRole(command_id="c", user_id="ada", role=Role.ADMIN, issued_at=5)
    assert await world.parts.decisions.ask(command) is not None
    # The event stands before the answer in the log, so whoever has the answer reads the new account.
    assert await role_of(world.parts.accounts, "ada") is Role.ADMIN
