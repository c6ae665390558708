"""Clerk's webhooks, signed as Svix signs: what is kept of a person, in whatever order, and how a user ends."""

import base64
from collections.abc import AsyncIterator, Callable
from itertools import permutations
from typing import Any

import httpx
import pytest
import structlog

from gateway.core.clerk_events import BadEvent, read_event
from repo.clock import now_ms
from schemas.access import Person
from schemas.accounts import Account, Role
from schemas.commands import DeleteUser, SetRole
from schemas.jobs import Job
from schemas.lifecycle import State
from tests.gateway.clerk import SECRET, deleted_event, signed, user_event
from tests.gateway.world import ORIGIN, World, eventually, job, settings, started

PATH = "/api/auth/webhook"
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before it").decode()
AT = 1_790_000_000_000
ADA = Person(
    user_id="user_ada", updated_at=AT, email="ada@example.org", first_name="Ada",
    image_url="https://img.example.org/a.png",
)  # fmt: skip
RESULT = {
    "user_id": "user_ada", "email": "ada@example.org", "first_name": "Ada", "last_name": None,
    "profile_image_url": "https://img.example.org/a.png",
}  # fmt: skip


@pytest.fixture
async def world() -> AsyncIterator[World]:
    patient = settings(clerk_webhook_secret=f"{SECRET}, {OLD_SECRET}", decision_timeout_seconds=30)
    async with started(patient) as made:
        yield made


async def post(world: World, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """A delivery; signed, unless the headers are given."""
    transport = httpx.ASGITransport(app=world.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        return await http.post(PATH, content=body, headers=signed(body) if headers is None else headers)


async def told(world: World, body: bytes) -> None:
    answer = await post(world, body)
    assert answer.status_code == 200, answer.text


async def account(world: World, user_id: str = "user_ada") -> Account | None:
    return await world.store.account(user_id)


async def test_a_new_user_and_what_changes_are_kept_and_answered_in_openvs_words(world: World) -> None:
    answer = await post(world, user_event("user.created", "user_ada", AT))
    assert answer.status_code == 200
    assert answer.json() == {"status": 200, "message": "User info processed", "result": RESULT}
    assert await world.parts.access.person("user_ada") == ADA
    changed = user_event("user.updated", "user_ada", AT + 1, last_name="Lovelace", primary_email_address_id="idn_1")
    answer = await post(world, changed)
    assert answer.json() == {
        "status": 200,
        "message": "User info updated",
        "result": RESULT | {"last_name": "Lovelace", "email": "first@example.org"},
    }
    assert world.ledger.heard == [], "who exists needs no account before it does something"


async def test_both_secrets_are_good_while_one_replaces_the_other_and_no_third(world: World) -> None:
    body = user_event("user.created", "user_ada", AT)
    other = "whsec_" + base64.b64encode(b"somebody else's").decode()
    assert (await post(world, body, signed(body, secret=OLD_SECRET))).status_code == 200
    several = signed(body)
    several["svix-signature"] = f"v1a,AAAA v1,{base64.b64encode(b'0' * 32).decode()} {several['svix-signature']}"
    assert (await post(world, body, several)).status_code == 200
    assert (await post(world, body, signed(body, secret=other))).status_code == 400


def sent(user_id: str = "user_ada", after_ms: int = 0, **changes: str) -> Callable[[], dict[str, str]]:
    """Headers that are made when the test runs: those of the collection would soon be refused for their age alone."""
    return lambda: signed(user_event("user.created", user_id, AT), at_ms=now_ms() + after_ms) | changes


@pytest.mark.parametrize("absent", ["svix-id", "svix-timestamp", "svix-signature"])
async def test_without_svixs_headers_it_is_refused_in_openvs_words(world: World, absent: str) -> None:
    body = user_event("user.created", "user_ada", AT)
    headers = {name: value for name, value in signed(body).items() if name != absent}
    answer = await post(world, body, headers)
    assert (answer.status_code, answer.text) == (400, "Error occured -- no svix headers")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "headers",
    [
        sent(**{"svix-signature": "v1"}), sent(**{"svix-signature": ","}),
        sent(**{"svix-signature": "v1,%"}),
        sent(**{"svix-signature": "v1,AAA"}), sent(**{"svix-signature": "v1,"}),
        sent(**{"svix-signature": "v1,a,b"}), sent(**{"svix-signature": "v1,\xe9\xe9"}),
        sent(**{"svix-timestamp": "soon"}), sent(**{"svix-timestamp": "nan"}),
        sent(**{"svix-timestamp": "1e400"}), sent(**{"svix-timestamp": "-1"}),
        sent(**{"svix-id": "another"}), sent(**{"svix-timestamp": "0"}),
        sent(after_ms=-360_000), sent(after_ms=360_000), sent("user_eve"),
    ],
)  # fmt: skip
async def test_whatever_is_wrong_with_a_signature_it_is_a_400_and_nothing_is_kept(
    world: World, headers: Callable[[], dict[str, str]]
) -> None:
    with structlog.testing.capture_logs() as logs:
        raw = {name.encode(): value.encode("latin-1") for name, value in headers().items()}
        answer = await post(world, user_event("user.created", "user_ada", AT), raw)  # type: ignore[arg-type]
    assert (answer.status_code, answer.text) == (400, "Error occured")
    assert await world.parts.access.person("user_ada") is None
    assert "example.org" not in repr(logs)


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"", b"[1", b"[" * 3000, b"null", b'{"type":1}', b'{"type":"user.created"}']
)
async def test_a_signed_body_that_is_no_event_is_a_400(world: World, body: bytes) -> None:
    assert (await post(world, body)).status_code == 400


async def test_the_bytes_are_what_is_signed_not_what_they_mean(world: World) -> None:
    body = user_event("user.created", "user_ada", AT)
    assert (await post(world, body.replace(b", ", b","), signed(body))).status_code == 400


async def test_a_body_without_end_is_not_read(world: World) -> None:
    body = user_event("user.created", "user_ada", AT, bio="x" * 300_000)
    assert (await post(world, body)).status_code == 413


async def test_without_a_secret_there_is_nothing_at_this_address() -> None:
    async with started() as world:
        body = user_event("user.created", "user_ada", AT)
        assert (await post(world, body)).status_code == 404


async def test_other_news_is_answered_200_and_changes_nothing(world: World) -> None:
    for kind in ("session.created", "organization.deleted", "user.createdAtTheMoon"):
        assert (await post(world, user_event(kind, "user_ada", AT))).status_code == 200
    assert await world.parts.access.person("user_ada") is None
    assert world.ledger.heard == []


FIRST, SECOND, END = (
    user_event("user.created", "user_ada", AT),
    user_event("user.updated", "user_ada", AT + 10, first_name="Augusta"),
    deleted_event("user_ada", AT + 20),
)


@pytest.mark.parametrize("order", [*permutations((FIRST, SECOND, END)), (END, END, FIRST), (SECOND, END, SECOND)])
async def test_in_any_order_and_repeated_the_deletion_stands_in_the_end(world: World, order: tuple[bytes, ...]) -> None:
    for body in (*order, *order):
        await told(world, body)
    person = await world.parts.access.person("user_ada")
    assert person is not None
    assert (person.updated_at, person.email, person.first_name) == (AT + 20, None, None)
    assert person.deleted_at is not None
    kept = await account(world)
    assert kept is not None
    assert kept.deleted_at is not None
    assert kept.deleted_issued_at == person.deleted_at


async def test_in_any_order_the_newest_word_on_a_living_user_stands(world: World) -> None:
    for body in (SECOND, FIRST, SECOND, FIRST):
        await told(world, body)
    person = await world.parts.access.person("user_ada")
    assert person is not None
    assert (person.first_name, person.updated_at) == ("Augusta", AT + 10)
    assert await account(world) is None


async def test_a_deleted_users_documents_lose_what_they_said(world: World) -> None:
    for number, state in enumerate((State.COMPLETED, State.QUEUED, State.FAILED)):
        await world.store.store_job(job(f"j{number}", "user_ada", state), 0)
    await world.store.store_job(job("bob-1", "user_bob"), 0)
    await told(world, END)

    async def deleted() -> list[Job]:
        jobs = await world.store.jobs_of("user_ada")
        return jobs if all(one.state is State.DELETED for one in jobs) else []

    jobs = await eventually(deleted)
    assert len(jobs) == 3
    assert {one.request.prompt for one in jobs} == {""}
    bobs = await world.store.job("bob-1")
    assert bobs is not None
    assert bobs.request.prompt == "prompt of bob-1"


async def test_a_role_given_while_the_news_was_on_its_way_keeps_no_deleted_user(world: World) -> None:
    promoted = Account(user_id="user_ada", version=1, role=Role.ADMIN, role_issued_at=now_ms() + 60_000)
    await world.store.store_account(promoted, 0)
    await told(world, END)
    kept = await account(world)
    assert kept is not None
    assert kept.deleted_at is not None


async def test_who_comes_back_is_let_in_again_and_old_news_of_the_end_changes_nothing(world: World) -> None:
    for body in (FIRST, END):
        await told(world, body)
    again = user_event("user.created", "user_ada", AT + 30)
    await told(world, user_event("user.updated", "user_ada", AT + 25))
    assert (await account(world)).deleted_at is not None  # type: ignore[union-attr]
    for body in (again, END, FIRST, again, END):
        await told(world, body)
    back = await account(world)
    assert back is not None
    assert (back.deleted_at, back.role) == (None, world.parts.settings.default_role)
    assert (await world.parts.access.person("user_ada")) == Person(**{**vars_of(ADA), "updated_at": AT + 30})
    assert [type(one) for one in world.ledger.heard] == [DeleteUser, SetRole]


def vars_of(person: Person) -> dict[str, Any]:
    return {name: getattr(person, name) for name in Person.__slots__}


async def test_old_news_of_the_end_does_not_undo_an_operators_word(world: World) -> None:
    await told(world, END)
    gone = await account(world)
    assert gone is not None
    await world.parts.decisions.ask(
        SetRole(command_id="c", user_id="user_ada", role=Role.USER, issued_at=gone.deleted_issued_at + 1)
    )
    await told(world, END)
    assert (await account(world)).deleted_at is None  # type: ignore[union-attr]


async def test_of_a_user_whom_an_operator_deleted_nothing_more_is_kept(world: World) -> None:
    await told(world, FIRST)
    await world.parts.decisions.ask(DeleteUser(command_id="c", user_id="user_ada", issued_at=now_ms()))
    await world.parts.access.forget("user_ada", now_ms())
    await told(world, SECOND)
    assert await world.parts.access.person("user_ada") == Person(user_id="user_ada", updated_at=AT)


async def test_without_its_time_the_end_is_of_when_it_was_sent(world: World) -> None:
    await told(world, FIRST)
    await told(world, deleted_event("user_ada", None))
    assert (await account(world)).deleted_at is not None  # type: ignore[union-attr]


async def test_while_a_server_is_away_it_is_a_503_and_the_repeat_finishes_it() -> None:
    async with started(settings(clerk_webhook_secret=SECRET, decision_timeout_seconds=0.3)) as world:
        await told(world, FIRST)
        world.database.away = True
        for body in (SECOND, END):
            assert (await post(world, body)).status_code == 503
        world.database.away = False
        with world.kafka_away():
            assert (await post(world, END)).status_code == 503
            assert (await post(world, END)).status_code == 503

        async def deleted() -> Account | None:
            assert (await post(world, END)).status_code in {200, 503}  # until it is noticed that Kafka is back
            kept = await account(world)
            return kept if kept is not None and kept.deleted_at is not None else None

        kept = await eventually(deleted)
        tombstone = await world.parts.access.person("user_ada")
        assert tombstone is not None
        issued = {one.issued_at for one in world.ledger.heard if isinstance(one, DeleteUser)}
        assert issued == {tombstone.deleted_at} == {kept.deleted_issued_at}


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"id": "../x"}, "data.id"), ({"id": None}, "data.id"), ({"updated_at": None}, "data.updated_at"),
        ({"updated_at": "2026"}, "data.updated_at"), ({"updated_at": True}, "data.updated_at"),
        ({"updated_at": -5}, "data.updated_at"), ({"updated_at": 10**20}, "data.updated_at"),
    ],
)  # fmt: skip
def test_an_event_that_misses_something_names_it(change: dict[str, Any], member: str) -> None:
    with pytest.raises(BadEvent, match=f"^{member}$"):
        read_event({"type": "user.created", "data": {"id": "user_1", "updated_at": AT} | change}, AT)


def test_members_that_are_not_there_are_nothing() -> None:
    bare = {"id": "user_1", "updated_at": AT, "email_addresses": [None, {"id": 1}], "first_name": 7}
    event = read_event({"type": "user.updated", "data": bare}, AT)
    assert event.person == Person(user_id="user_1", updated_at=AT)  # type: ignore[union-attr]
