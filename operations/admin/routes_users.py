"""``/users``: list, show; role, limits, block, credits, delete, reset. The work is in ``operations/users``."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import Field

from operations.admin.answers import ChangedUser, UsersPage, UserView, WorkView
from operations.admin.operation import Answer, Asked, Call, Nothing, Operation, Why, named
from operations.admin.refusals import Problem, Refused
from operations.admin.routes_works import BEGIN, begun
from operations.stack.errors import StackError
from operations.users import acts
from operations.users.commands import account_plain, known_plain, row_plain
from operations.users.listing import known_of, users_page
from schemas.accounts import Role
from schemas.ids import is_name
from schemas.shape import to_plain

P = Problem
RESET = "users.reset"
Id = Annotated[str, Field(min_length=1, max_length=128)]


class WantedUsers(Asked):
    """``usage``: with where each stands, the heaviest first within the page, of 50 at most; ``after``: what the page
    before said."""

    role: Role | None = None
    blocked: bool | None = None
    deleted: bool | None = None
    usage: bool = False
    after: Id | None = None
    limit: int = Field(default=50, ge=1, le=200)


class NewRole(Why):
    role: Role


class NewLimits(Why):
    """Those that are absent stay as they are; ``clear`` drops all. ``rateWindow``: seconds."""

    seconds: float | None = Field(default=None, ge=0)
    max_active: int | None = Field(default=None, ge=0)
    rate: int | None = Field(default=None, ge=1)
    rate_window: float | None = Field(default=None, ge=0.001)
    clear: bool = False


class Grant(Why):
    """``id``: repeated with the same one, it counts once. Negative credits are taken away."""

    id: Id
    credits: float
    expires_days: int | None = Field(default=None, ge=1, le=36_500)


class Begun(Why):
    """``expect``: the ``digest`` of what was looked at, to delete just that; without it the work only looks."""

    expect: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None


async def list_users(call: Call[WantedUsers, Nothing]) -> Answer:
    asked = call.query
    limit = min(asked.limit, 50) if asked.usage else asked.limit
    page = await users_page(
        call.desk,
        role=asked.role,
        blocked=asked.blocked,
        deleted=asked.deleted,
        limit=limit,
        after=asked.after,
        usage=asked.usage,
    )
    rows = [row_plain(row) for row in page.users]
    left_out = {"damaged": list(page.damaged)} if page.damaged else {}
    return Answer({"users": rows, **({} if page.after is None else {"after": page.after}), **left_out})


async def show_user(call: Call[Nothing, Nothing]) -> Answer:
    return Answer(known_plain(await known_of(call.desk, named(call, "user_id", is_name))))


async def set_role(call: Call[Nothing, NewRole]) -> Answer:
    return await _change(call, lambda user: acts.set_role(call.desk, call.actor, user, call.body.role, _why(call)))


async def set_limits(call: Call[Nothing, NewLimits]) -> Answer:
    asked = call.body
    limits = acts.Limits(asked.seconds, asked.max_active, asked.rate, asked.rate_window, asked.clear)
    try:
        acts.overrides_of(limits)
    except StackError:
        words = "either clear, or at least one limit, none of them beyond measure"
        raise Refused(P.INVALID, details=[{"in": "body", "member": "", "message": words}]) from None
    return await _change(call, lambda user: acts.limit(call.desk, call.actor, user, limits, _why(call)))


async def block(call: Call[Nothing, Why]) -> Answer:
    return await _change(call, lambda user: acts.set_blocked(call.desk, call.actor, user, _why(call), blocked=True))


async def unblock(call: Call[Nothing, Why]) -> Answer:
    return await _change(call, lambda user: acts.set_blocked(call.desk, call.actor, user, _why(call), blocked=False))


async def grant(call: Call[Nothing, Grant]) -> Answer:
    asked = call.body

    async def work(user: str) -> acts.Changed:
        command = acts.grant_command(user, asked.credits, asked.reason, asked.expires_days, asked.id)
        return await acts.grant(call.desk, call.actor, command)

    return await _change(call, work)


async def delete(call: Call[Nothing, Why]) -> Answer:
    return await _change(call, lambda user: acts.delete(call.desk, call.actor, user, _why(call)))


async def reset(call: Call[Nothing, Begun]) -> Answer:
    user, asked = named(call, "user_id", is_name), call.body
    return await begun(call, RESET, {"user": user, "expect": asked.expect, "reason": asked.reason}, user, asked.reason)


def _why(call: Call[Nothing, Any]) -> str:
    reason: str = call.body.reason
    return reason


async def _change(call: Call[Nothing, Any], work: Callable[[str], Awaitable[acts.Changed]]) -> Answer:
    came = await work(named(call, "user_id", is_name))
    told = {"user": came.user, "decided": came.decided, "words": came.words, "account": account_plain(came.account)}
    if came.left is not None:
        told["standing"] = to_plain(came.left)
    return Answer(told, 200 if came.decided else 202)


def _changing(method: str, path: str, name: str, summary: str, action: str, handler: Any, body: Any) -> Operation:
    return Operation(
        method=method,
        path=f"/users/{{user_id}}{path}",
        name=name,
        tag="Users",
        summary=summary,
        words="202: recorded, and no ledger has decided it in time; it is carried out when one runs.",
        action=action,
        body=body,
        reply=ChangedUser,
        statuses=(200, 202),
        problems=(P.NOT_FOUND, P.NOT_DECIDED),
        handler=handler,
    )


OPERATIONS = (
    Operation(
        method="get",
        path="/users",
        name="listUsers",
        tag="Users",
        summary="Users with an account, by id",
        query=WantedUsers,
        reply=UsersPage,
        handler=list_users,
    ),
    Operation(
        method="get",
        path="/users/{user_id}",
        name="getUser",
        tag="Users",
        summary="One user: account, standing, keys, jobs",
        words="Also of a user of whom nothing is stored yet: the deployment's defaults hold for them.",
        reply=UserView,
        problems=(P.NOT_FOUND,),
        handler=show_user,
    ),
    _changing(
        "put", "/role", "setRole", "Set the role; a deleted user is let back in", "users.role", set_role, NewRole
    ),
    _changing("put", "/limits", "setLimits", "Set the user's own limits", "users.limit", set_limits, NewLimits),
    _changing("post", "/block", "blockUser", "Let them make no more videos", "users.block", block, Why),
    _changing("post", "/unblock", "unblockUser", "Let them make videos again", "users.unblock", unblock, Why),
    _changing("post", "/credits", "grantCredits", "Give credits, or take some", "users.credits", grant, Grant),
    _changing(
        "delete", "", "deleteUser", "Delete them: videos, files, keys, personal data", "users.delete", delete, Why
    ),
    Operation(
        method="post",
        path="/users/{user_id}/reset",
        name="resetUser",
        tag="Users",
        summary="Let a user begin anew whose account document is damaged beyond what events tell",
        words="Without `expect` the work's result says what can be read of it, and a digest; with that as `expect`, "
        "just that document is deleted. Role, limits and credits have to be set again.",
        action=BEGIN,
        body=Begun,
        reply=WorkView,
        statuses=(202,),
        problems=(P.NOT_FOUND, P.BUSY, P.REFUSED),
        handler=reset,
    ),
)
