"""The row of Clerk's webhook."""

from typing import Any

from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Parameter, Reply

P = Problem
_TEXT: dict[str, Any] = {"type": "string"}
_EXAMPLE = {
    "type": "user.deleted",
    "object": "event",
    "timestamp": 1_790_000_000_000,
    "data": {"id": "user_29w83sxmDNGwOuEthce5gg56FcC", "deleted": True},
}

OPERATIONS = (
    Operation(
        method="post",
        path="/api/auth/webhook",
        name="hearOfUsers",
        tag="Account",
        access=Access.OPEN,
        summary="Clerk's news of its users",
        words=(
            "Sent and signed by Svix; repeating is harmless. `user.created`, `user.updated` and `user.deleted` count, "
            "others are ignored. There is nothing at this address where `OPENV_CLERK_WEBHOOK_SECRET` is not set."
        ),
        parameters=(
            Parameter("svix-id", "The delivery's id.", _TEXT, where="header"),
            Parameter("svix-timestamp", "When it was sent, in seconds since the epoch.", _TEXT, where="header"),
            Parameter("svix-signature", "`v1,` and base64, several with spaces between.", _TEXT, where="header"),
        ),
        body=dict[str, Any],
        body_example=_EXAMPLE,
        replies={
            200: Reply("It is kept.", dict[str, Any], example={"status": 200, "message": "User deleted"}),
            400: Reply("The signature is not there or not good, or it is no event.", media="text/plain"),
        },
        problems=(P.NO_ROUTE, P.BAD_BODY, P.UNAVAILABLE),
    ),
)
