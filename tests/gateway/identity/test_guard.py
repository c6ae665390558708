"""What stands before every protected route: scopes, roles, the account, the terms of use, and who gets past them."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from gateway.errors import PROBLEMS, Problem, Refused
from gateway.identity.guard import terms_accepted
from gateway.identity.principal import Principal
from gateway.refusals import FORMS, Form
from gateway.spec.operation import Access, Operation
from gateway.spec.table import OPERATIONS
from repo.clock import now_ms
from schemas.access import ALL_SCOPES, Acceptance, Scope
from schemas.accounts import Account, Role
from schemas.commands import DeleteUser
from tests.gateway.world import ORIGIN, World, settings, started

PROTECTED = [one for one in OPERATIONS if one.access not in {Access.OPEN, Access.WORKER}]
TERMS = ("/api/terms/check", "/api/terms/accept")


def name(operation: Operation) -> str:
    return operation.name


class Left(BaseException):
    """Whoever asked has seen enough. No ``Exception``: the gateway would log it at length, as a defect."""


def until_it_streams(app: Starlette) -> ASGIApp:
    """The app, whose event streams end with their head: who is let in here is let in, and need not stay."""

    async def cut(scope: AsgiScope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start" and b"text/event-stream" in str(message["headers"]).encode():
                await send({"type": "http.response.body", "body": b""})
                raise Left

        with suppress(Left):
            await app(scope, receive, sending)

    return cut


@asynccontextmanager
async def client(world: World, user_id: str | None, **how: Any) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {await world.key(user_id, **how)}"} if user_id else {}
    transport = httpx.ASGITransport(app=until_it_streams(world.app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as http:
        yield http


async def call(http: httpx.AsyncClient, operation: Operation, **how: Any) -> httpx.Response:
    """The operation with a body and ids that mean nothing: who is refused at the door never gets that far."""
    path = re.sub(r"\{[^}]*\}", "nothing", operation.path)
    return await http.request(operation.method.upper(), path, content=b"{}", **how)


def refused_at_the_door(answer: httpx.Response) -> bool:
    doors = (Problem.SCOPE, Problem.ADMIN_ONLY, Problem.RESTRICTED, Problem.TERMS)
    return answer.status_code == 403 and any(PROBLEMS[door].words in answer.text for door in doors)


def told(operation: Operation, problem: Problem, **members: Any) -> Mapping[str, Any]:
    """The body of this refusal, in the form of the operation's API."""
    return FORMS[operation.form](Refused(problem, **members)).body


@pytest.mark.parametrize("operation", PROTECTED, ids=name)
async def test_nobody_is_answered_401(world: World, operation: Operation) -> None:
    async with client(world, None) as http:
        answer = await call(http, operation)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert told(operation, operation.nobody).items() <= answer.json().items()
    if operation.form is Form.OPENV:
        assert any(words.startswith("Unauthorized") for words in answer.json().values() if isinstance(words, str))


@pytest.mark.parametrize("operation", PROTECTED, ids=name)
async def test_every_route_asks_for_its_scope_and_no_other(world: World, operation: Operation) -> None:
    needed = operation.access.scope
    assert needed is not None
    role = Role.ADMIN
    for scope in ALL_SCOPES:
        async with client(world, "ada", scopes=(scope,), role=role) as http:
            answer = await call(http, operation)
        if scope is needed:
            assert not refused_at_the_door(answer), answer.text
        else:
            assert answer.status_code == 403
            assert told(operation, Problem.SCOPE, scope=needed.value).items() <= answer.json().items()
            assert "scope_missing" in answer.text
    async with client(world, "ada", scopes=(), role=role) as http:
        said = (await call(http, operation)).json()
        assert told(operation, Problem.SCOPE, scope=needed.value).items() <= said.items()


@pytest.mark.parametrize("operation", PROTECTED, ids=name)
@pytest.mark.parametrize("role", list(Role))
async def test_every_route_asks_for_its_role(world: World, operation: Operation, role: Role) -> None:
    async with client(world, "ada", role=role) as http:
        answer = await call(http, operation)
    if operation.access is Access.ADMIN and role is not Role.ADMIN:
        assert (answer.status_code, answer.json()) == (403, told(operation, Problem.ADMIN_ONLY))
    elif operation.access is Access.MAKE and role is Role.RESTRICTED:
        assert (answer.status_code, answer.json()) == (403, told(operation, Problem.RESTRICTED))
    else:
        assert not refused_at_the_door(answer), answer.text


async def put(world: World, **changes: Any) -> None:
    account = Account(user_id="ada", version=1, **changes)
    assert await world.store.store_account(account, 0)


@pytest.mark.parametrize(
    ("changes", "makes"),
    [
        ({}, True),
        ({"role": Role.USER, "role_issued_at": 1}, True),
        ({"role": Role.RESTRICTED, "role_issued_at": 1}, False),
        ({"blocked": True}, False),
    ],
)
async def test_what_the_account_says_limits_every_key(world: World, changes: dict[str, Any], makes: bool) -> None:
    await put(world, **changes)
    for role in (Role.USER, Role.ADMIN):
        async with world.client("ada", role=role) as http:
            answer = await http.post("/api/runpod", json={"prompt": "a"})
            assert (answer.status_code == 200) is makes, answer.text
            assert (await http.get("/api/videos")).status_code == 200, "looking is free"
            vouchers = await http.get("/api/vouchers")
            assert (vouchers.status_code == 200) is (makes and role is Role.ADMIN)


async def test_a_deleted_user_is_nobody_with_whatever_key(world: World) -> None:
    async with world.client("ada") as http:
        assert (await http.get("/api/videos")).status_code == 200
        gone = DeleteUser(command_id="d", user_id="ada", issued_at=now_ms())
        assert await world.parts.decisions.ask(gone) is not None
        answer = await http.get("/api/videos")
    assert answer.status_code == 401
    async with world.client("ada") as http:
        assert (await http.get("/api/videos")).status_code == 401


async def test_a_role_taken_away_is_taken_from_sessions_too(world: World) -> None:
    secret = await world.key("ada", role=Role.ADMIN)
    async with world.client(None) as http:
        headers = {"Authorization": f"Bearer {secret}"}
        assert (await http.get("/api/vouchers", headers=headers)).status_code == 200
        await put(world, role=Role.USER, role_issued_at=now_ms() + 60_000)
        world.parts.accounts.forget("ada")
        assert (await http.get("/api/vouchers", headers=headers)).status_code == 403


@pytest.fixture
async def strict() -> AsyncIterator[World]:
    async with started(settings(terms_required=True, terms_version="2.0.0")) as made:
        yield made


@pytest.mark.parametrize("operation", PROTECTED, ids=name)
async def test_the_terms_stand_before_every_route_but_their_own(strict: World, operation: Operation) -> None:
    async with client(strict, "ada", role=Role.ADMIN) as http:
        answer = await call(http, operation)
        if operation.path in TERMS:
            assert answer.status_code == 200
            return
        assert (answer.status_code, answer.json()) == (403, told(operation, Problem.TERMS, version="2.0.0"))
        assert "terms_not_accepted" in answer.text
        old = Acceptance(user_id="ada", version="1.0.0", accepted_at=1)
        await strict.database.access.accept_terms(old)
        assert (await call(http, operation)).status_code == 403, "a new version asks everyone again"
        await strict.database.access.accept_terms(replace(old, version="2.0.0"))
        assert not refused_at_the_door(await call(http, operation))


async def test_a_yes_is_asked_for_once_and_a_no_every_time(strict: World) -> None:
    access, asked = strict.database.access, 0
    read = access.acceptances

    async def counting(user_id: str) -> list[Acceptance]:
        nonlocal asked
        asked += 1
        return await read(user_id)

    access.acceptances = counting  # type: ignore[method-assign]
    async with strict.client() as http:
        for _ in range(3):
            assert (await http.get("/api/videos")).status_code == 403
        assert asked == 3
        await access.accept_terms(Acceptance(user_id="ada", version="2.0.0", accepted_at=1))
        for _ in range(3):
            assert (await http.get("/api/videos")).status_code == 200
        assert asked == 4
    async with strict.client("bob") as http:
        assert (await http.get("/api/videos")).status_code == 403, "a yes is one person's"


async def test_without_the_store_who_has_agreed_goes_on_and_others_are_told_to_wait(strict: World) -> None:
    agreed = Principal("ada", Role.USER)
    await strict.parts.terms.accept("ada", 1)
    strict.database.away = True
    assert await terms_accepted(strict.parts, agreed)
    strict.database.away = False
    async with strict.client("bob") as http:
        assert (await http.get("/api/usage")).status_code == 403  # the key is remembered now
        strict.database.away = True
        answer = await http.get("/api/usage")
        strict.database.away = False
    assert (answer.status_code, answer.json()["missing"]) == (503, ["mongodb"])


async def test_terms_that_are_not_required_stop_nobody(world: World) -> None:
    assert await terms_accepted(world.parts, Principal("ada", Role.USER))


def test_scopes_and_roles_are_two_things() -> None:
    admin = Principal("ada", Role.ADMIN, scopes=frozenset({Scope.READ}))
    assert not admin.may(Scope.ADMIN)
    assert not Principal("ada", Role.USER).may(Scope.ADMIN)
    assert Principal("ada", Role.ADMIN).may(Scope.ADMIN)
