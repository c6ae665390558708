"""``/users/{user_id}/keys``: list, make, revoke. The work is in ``operations/keys.py``.

An admin may make keys of admins here, as on the command line: forbidding it would stop nobody who may set roles. What
was made by which key is in the audit, so that one that was stolen is revoked together with those that it made.
"""

from typing import Annotated

from pydantic import Field

from operations.admin.answers_access import DamagedKeyView, Keys, KeyView, MadeKey
from operations.admin.key_views import damaged_view, key_view
from operations.admin.operation import Answer, Call, Nothing, Operation, Why, named
from operations.admin.refusals import Problem, Refused
from operations.keys import LABEL_MAX, NewKey, lasting_keys, make_key, revoke_key
from operations.stack.errors import StackError
from repo.access import DamagedKey
from schemas.access import Scope
from schemas.accounts import Role
from schemas.ids import is_name
from schemas.shape import to_plain

P = Problem


class WantedKey(Why):
    """``scopes``: all where they are left out, of which admin counts for the role admin alone; ``expiresDays``: for
    ever where it is left out. ``reason`` is kept in the audit: no secrets."""

    name: str = Field(default="", max_length=LABEL_MAX)
    role: Role = Role.USER
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(Scope))] | None = None
    expires_days: int | None = Field(default=None, ge=1, le=36_500)


async def list_keys(call: Call[Nothing, Nothing]) -> Answer:
    user, database, now = named(call, "user_id", is_name), call.desk.database, call.tools.now()
    keys, damaged = await lasting_keys(database, user), await database.access.damaged_keys(user)
    views = tuple(key_view(key, now) for key in reversed(keys))
    return Answer(to_plain(Keys(keys=views, damaged=tuple(map(damaged_view, damaged)))))


async def create_key(call: Call[Nothing, WantedKey]) -> Answer:
    """What can be no key is refused before anything is written into the audit."""
    user, asked = named(call, "user_id", is_name), call.body
    try:
        wanted = NewKey(user, asked.name, asked.role, asked.scopes or (), asked.expires_days)
    except StackError as error:
        raise Refused(P.INVALID, details=[{"in": "body", "member": "", "message": str(error)}]) from None
    secret, key = await make_key(call.desk, call.actor, wanted, asked.reason)
    return Answer(to_plain(MadeKey(secret=secret, key=key_view(key, call.tools.now()))), 201)


async def end_key(call: Call[Nothing, Why]) -> Answer:
    """A whole key is no name of it here: in an address it would stand in the logs of proxies."""
    user, prefix = named(call, "user_id", is_name), call.names["prefix"]
    database = call.desk.database
    names = {key.prefix for key in await lasting_keys(database, user)}
    if prefix not in names | {key.name for key in await database.access.damaged_keys(user)}:
        raise Refused(P.NOT_FOUND)
    key = await revoke_key(call.desk, call.actor, user, prefix, call.body.reason)
    if isinstance(key, DamagedKey):
        return Answer(to_plain(damaged_view(key, "deleted")))
    stored = await call.desk.database.access.api_key(key.key_hash)
    return Answer(to_plain(key_view(stored or key, call.tools.now())))


OPERATIONS = (
    Operation(
        method="get",
        path="/users/{user_id}/keys",
        name="listKeys",
        tag="Keys",
        summary="A user's API keys and sessions, newest first",
        words="Those of an endpoint's workers belong to the user `endpoint:NAME`.",
        reply=Keys,
        problems=(P.NOT_FOUND,),
        handler=list_keys,
    ),
    Operation(
        method="post",
        path="/users/{user_id}/keys",
        name="createKey",
        tag="Keys",
        summary="Make an API key, which is shown once",
        words="One whose answer was lost is of no use to anybody: look for it in the list, and revoke it.",
        action="keys.create",
        body=WantedKey,
        reply=MadeKey,
        statuses=(201,),
        problems=(P.NOT_FOUND,),
        handler=create_key,
    ),
    Operation(
        method="delete",
        path="/users/{user_id}/keys/{prefix}",
        name="revokeKey",
        tag="Keys",
        summary="Revoke a key or a session, for ever",
        words="409: it is revoked already, or two active ones begin so; `openv keys revoke` takes a whole key. One "
        "that nobody can read is deleted, by its name.",
        action="keys.revoke",
        body=Why,
        reply=KeyView | DamagedKeyView,
        problems=(P.NOT_FOUND,),
        handler=end_key,
    ),
)
