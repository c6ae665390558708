"""Whether who asked for a long work still might: the door's word, by the name that the audit has."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.identity.keys import new_key
from operations.admin.door import Door
from repo.core.documents import DamagedDocumentError
from repo.memory import MemoryDatabase
from schemas.access import KeyKind, Scope
from schemas.accounts import Account, Role

NOW = 1_790_000_000_000
MADE = NOW - 1_000


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


async def asker(database: MemoryDatabase, **changes: Any) -> str:
    """The name of an actor whose key is as it was made, but for these."""
    _, key = new_key("root", now=MADE, role=Role.ADMIN)
    await database.access.store_api_key(replace(key, **changes))
    return f"root/{key.prefix}"


async def lets_in(database: MemoryDatabase, name: str) -> bool:
    return await Door(database, 20, lambda: NOW).lets_in(name)


async def test_whose_key_is_good_or_has_merely_expired_is_served(database: MemoryDatabase) -> None:
    assert await lets_in(database, await asker(database))
    assert await lets_in(database, await asker(database, expires_at=NOW - 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"revoked_at": NOW},
        {"role": Role.USER},
        {"scopes": (Scope.READ, Scope.WRITE)},
        {"kind": KeyKind.SESSION},
        {"user_id": "somebody"},
    ],
)
async def test_whose_key_is_revoked_or_weak_is_not(database: MemoryDatabase, changes: dict[str, Any]) -> None:
    assert not await lets_in(database, await asker(database, **changes))


@pytest.mark.parametrize(
    "changes", [{"blocked": True}, {"role": Role.USER, "role_issued_at": NOW}, {"deleted_at": NOW}]
)
async def test_who_is_no_admin_any_more_is_not(database: MemoryDatabase, changes: dict[str, Any]) -> None:
    name = await asker(database)
    await database.jobs.store_account(Account(user_id="root", version=1, **changes), 0)
    assert not await lets_in(database, name)


async def test_another_damaged_key_says_nothing_and_the_own_one_can_not_be_known(database: MemoryDatabase) -> None:
    name, other = await asker(database), await asker(database)
    (first,) = [key for key in await database.access.api_keys("root") if name.endswith(key.prefix)]
    database.access.damage(first.key_hash)
    assert await lets_in(database, other)
    with pytest.raises(DamagedDocumentError) as refused:
        await lets_in(database, name)
    assert first.key_hash not in str(refused.value)


@pytest.mark.parametrize("name", ["", "root", "root/", "/ov_", "a/b/c", "somebody@host"])
async def test_a_name_of_nobody_is_not(database: MemoryDatabase, name: str) -> None:
    await asker(database)
    assert not await lets_in(database, name)
