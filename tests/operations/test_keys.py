"""``openv keys`` against the database: what is stored, what is shown, and that a revoked key stays so."""

import asyncio
import io
import re
import uuid
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.identity.keys import PREFIX_LENGTH, hash_of, is_key, new_key
from operations.cli import app
from operations.keys import create, link, revoke, show
from operations.stack.errors import StackError
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_access import MongoAccessStore
from schemas.access import KeyKind, Scope
from schemas.accounts import Role
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import decode
from schemas.topics import AUDIT

pytestmark = pytest.mark.servers
NOWHERE = Path("nowhere")  # the environment names the servers


@pytest.fixture(autouse=True)
def environment(servers: dict[str, str], topics: list[str], database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**servers, "MONGODB_DATABASE": database}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.strip()


async def listed(user: str) -> list[list[str]]:
    """The rows of the table, cell by cell."""
    out = io.StringIO()
    await show(NOWHERE, user, Console(file=out))
    _, *rows = out.getvalue().splitlines()
    return [re.split(r" {2,}", row) for row in rows]


async def test_scopes_and_expiry_are_stored_and_the_secret_is_not(
    access_store: MongoAccessStore, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(NOWHERE, user, "dashboard", "user", ["write", "read"], 90)
    secret = printed(capsys)
    assert is_key(secret)
    (key,) = await access_store.api_keys(user)
    assert (key.key_hash, key.scopes, key.kind, key.role) == (
        hash_of(secret),
        (Scope.READ, Scope.WRITE),
        KeyKind.KEY,
        Role.USER,
    )
    assert key.expires_at == key.created_at + 90 * 86_400_000
    assert secret not in repr(key)
    await create(NOWHERE, user, "", "user")
    every = (await access_store.api_keys(user))[-1]
    assert (every.scopes, every.expires_at) == ((Scope.READ, Scope.WRITE), None)


async def test_the_list_shows_what_each_key_is_for_and_nothing_that_opens_once(
    access_store: MongoAccessStore, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(NOWHERE, user, "dashboard", "user", ["read"], 1)
    first = printed(capsys)
    await access_store.touch_api_key(hash_of(first), 1_800_000_000_000)
    now = now_ms()
    others = {kind: new_key(user, now=now + 1, kind=kind, expires_at=now - 1) for kind in KeyKind}
    for _, stored in others.values():
        await access_store.store_api_key(stored)
    rows = await listed(user)
    assert {(row[0], row[1], row[-1]) for row in rows} == {
        (f"{first[:9]}…", "key", "active"),
        (f"{others[KeyKind.KEY][0][:9]}…", "key", "expired"),
        (f"{others[KeyKind.SESSION][0][:9]}…", "session", "expired"),
        (f"{others[KeyKind.WORKER][0][:9]}…", "worker", "expired"),
    }
    row = next(row for row in rows if row[2] == "dashboard")
    assert row[3:5] == ["user", "read"]
    assert row[6] == "2027-01-15 08:00"
    assert all(first not in cell for one in rows for cell in one)


async def test_a_revoked_key_is_shown_as_such_and_stays_so_while_it_is_used(
    access_store: MongoAccessStore, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(NOWHERE, user, "", "user")
    secret = printed(capsys)
    notes = [access_store.touch_api_key(hash_of(secret), now_ms() + n) for n in range(30)]
    await asyncio.gather(revoke(NOWHERE, user, f"{secret[:9]}…"), *notes)
    assert printed(capsys) == f"Revoked {secret[:9]}…."
    key = await access_store.api_key(hash_of(secret))
    assert key is not None
    assert key.revoked_at is not None
    assert key.last_used_at is not None
    assert [row[-1] for row in await listed(user)] == ["revoked"]
    with pytest.raises(StackError, match="No active keys"):
        await revoke(NOWHERE, user, secret[:9])


async def test_a_prefix_must_name_one_key_that_is_there(
    access_store: MongoAccessStore, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        await create(NOWHERE, user, "", "user")
    capsys.readouterr()
    link, stored = new_key(user, now=now_ms(), kind=KeyKind.PAGE_LINK)
    await access_store.store_api_key(stored)
    for prefix, words in (("ov_", "2 active keys"), ("sk_", "No active keys"), (link[:9], "No active keys")):
        with pytest.raises(StackError, match=words):
            await revoke(NOWHERE, user, prefix)
    with pytest.raises(StackError, match="No active keys"):
        await revoke(NOWHERE, f"{user}-another", "ov_")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scope", "everything"), "A scope is one of read, write, admin."),
        (("--scope", "admin"), "add --role admin"),
        (("--role", "root"), "A role is one of restricted, user, admin."),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], words: str, user: str) -> None:
    result = CliRunner().invoke(app, ["keys", "create", "--user", user, *arguments])
    assert result.exit_code == 1
    assert words in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("days", ["0", "-1", "nan", "1e9"])
def test_days_that_are_none(days: str, user: str) -> None:
    assert CliRunner().invoke(app, ["keys", "create", "--user", user, "--expires-days", days]).exit_code == 2


async def test_a_whole_key_is_revoked_and_another_of_the_same_beginning_is_not_named(
    access_store: MongoAccessStore, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(NOWHERE, user, "", "user")
    secret = printed(capsys)
    with pytest.raises(StackError) as refused:
        await revoke(NOWHERE, user, f"{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}")
    assert secret[:12] not in str(refused.value), "what was typed may be a secret"
    await revoke(NOWHERE, user, secret)
    (key,) = await access_store.api_keys(user)
    assert key.revoked_at is not None


async def test_a_link_opens_the_page_of_that_user_once(
    access_store: MongoAccessStore, user: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENV_PUBLIC_URL", "https://videos.example.org")
    await link(NOWHERE, user)
    address, _, token = printed(capsys).partition("/?token=")
    assert address == "https://videos.example.org"
    taken = await access_store.consume_one_time_key(hash_of(token))
    assert taken is not None
    assert (taken.user_id, taken.kind) == (user, KeyKind.PAGE_LINK)


async def test_who_made_or_revoked_a_key_is_in_the_audit_and_the_key_is_not(
    kafka_log: KafkaEventLog, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = (await kafka_log.ends(AUDIT.name))[0]
    await create(NOWHERE, user, "dashboard", "user", ["read"])
    secret = printed(capsys)
    await link(NOWHERE, user)
    await revoke(NOWHERE, user, secret)
    records = await kafka_log.read(AUDIT.name, 0, begin, (await kafka_log.ends(AUDIT.name))[0])
    entries = [entry for record in records if isinstance(entry := decode(record), AuditEntry) and entry.target == user]
    assert [(one.action, one.stage) for one in entries] == [
        (f"keys.{verb}", stage)
        for verb in ("create", "link", "revoke")
        for stage in (AuditStage.BEGUN, AuditStage.DONE)
    ]
    assert entries[0].detail == {"key": secret[:PREFIX_LENGTH], "role": "user", "scopes": "read"}
    assert all(secret not in str(one) for one in entries)


async def test_a_damaged_key_is_named_beside_the_list_and_can_be_revoked(
    access_store: MongoAccessStore, mongo: MongoDatabase, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = []
    for _ in range(3):
        await create(NOWHERE, user, "", "user")
        secrets.append(printed(capsys))
    good, bad, odd = secrets
    keys = mongo.connection.collection("api_keys")
    await keys.update_one({"_id": hash_of(bad)}, {"$set": {"role": "a secret"}})
    await keys.update_one({"_id": hash_of(odd)}, {"$set": {"scopes": "a secret", "prefix": 7}})
    assert [row[0] for row in await listed(user)] == [f"{good[:9]}…"]
    said = capsys.readouterr().err
    assert f"Left out: {bad[:9]}…, whose document is damaged (role: enum)." in said
    assert f"`openv keys revoke --user {user} {hash_of(odd)}` deletes it." in said
    assert "a secret" not in said
    await revoke(NOWHERE, user, good[:9])
    await revoke(NOWHERE, user, f"{bad[:9]}…")
    await revoke(NOWHERE, user, odd)
    assert printed(capsys).splitlines() == [
        f"Revoked {name}." for name in (f"{good[:9]}…", f"{bad[:9]}…", hash_of(odd))
    ]
    assert [row[-1] for row in await listed(user)] == ["revoked"]
    assert capsys.readouterr().err == ""
    for secret in (bad, odd):
        assert await access_store.api_key(hash_of(secret)) is None
