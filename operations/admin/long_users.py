"""The long work on users: a reset, which reads what events tell of the account."""

from collections.abc import Mapping
from typing import Any

from operations.admin.settings import AdminSettings
from operations.audit.recording import Actor
from operations.desk import Desk
from operations.stack.errors import StackError
from operations.users.reset import AFTERWARDS, look
from operations.users.reset import reset as delete_damaged


async def reset(desk: Desk, _: AdminSettings, arguments: Mapping[str, Any], actor: Actor) -> Any:
    """Look at the damaged account; with ``expect``, delete what was looked at. Raises ``StackError``."""
    damaged, expected = await look(desk, arguments["user"]), arguments["expect"]
    if expected is not None:
        if expected != damaged.digest:
            raise StackError("Nothing was changed: the document is not the one that was looked at. Look again.")
        await delete_damaged(desk, actor, damaged, arguments["reason"])
    about = {"user": damaged.user, "readable": dict(damaged.rows), "digest": damaged.digest, "afterwards": AFTERWARDS}
    return about | {"reset": expected is not None}
