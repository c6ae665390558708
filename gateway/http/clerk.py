"""``POST /api/auth/webhook``: Clerk's news of its users, sent and signed by Svix.

The signature covers the bytes as they came. Whatever is wrong with it is answered 400 in OpenV's words. Where this
differs from OpenV: a person that can't be stored is answered by a status that makes Svix repeat, not by 200; kinds of
events that nobody asked for are answered 200, because nothing would change if they were repeated for days.
"""

from collections.abc import Iterable

import orjson
import structlog
from pydantic import SecretStr
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.core.clerk_events import BadEvent, NotOurs, UserGone, UserTold, as_openv, read_event
from gateway.errors import Problem, Refused
from gateway.http.bodies import read_body
from gateway.identity.persons import take
from gateway.parts import parts_of

BODY_MAX = 256 * 1024
NAMES = {"svix-id": "webhook-id", "svix-timestamp": "webhook-timestamp", "svix-signature": "webhook-signature"}
SECOND_MS = 1000
logger = structlog.get_logger()


async def hear(request: Request) -> Response:
    """Take the news; 200 once it is durable."""
    parts = parts_of(request)
    secrets = parts.settings.clerk_webhook_secret
    if not secrets:
        raise Refused(Problem.NO_ROUTE)
    headers = {ours: request.headers.get(theirs, "") for theirs, ours in NAMES.items()}
    if not all(headers.values()):
        return PlainTextResponse("Error occured -- no svix headers", 400)
    body = await read_body(request, min(BODY_MAX, parts.settings.body_bytes))
    if not is_signed(body, headers, secrets):
        return PlainTextResponse("Error occured", 400)
    sent_at = int(float(headers["webhook-timestamp"])) * SECOND_MS
    try:
        event = read_event(orjson.loads(body), sent_at)
    except (orjson.JSONDecodeError, BadEvent) as error:
        missing = str(error) if isinstance(error, BadEvent) else "JSON"
        logger.error("clerk_event_unreadable", delivery=headers["webhook-id"][:64], missing=missing)
        return PlainTextResponse("Error occured", 400)
    person = await take(parts, event)
    match event:
        case UserTold(is_new=is_new):
            words = "User info processed" if is_new else "User info updated"
            return JSONResponse({"status": 200, "message": words, "result": as_openv(person)})
        case UserGone():
            return JSONResponse({"status": 200, "message": "User deleted"})
        case NotOurs():
            return JSONResponse({"status": 200, "message": "Event type ignored"})


def is_signed(body: bytes, headers: dict[str, str], secrets: Iterable[SecretStr]) -> bool:
    """Whether one of the secrets made the signature, in the last minutes."""
    return any(_is_signed_by(secret.get_secret_value(), body, headers) for secret in secrets)


def _is_signed_by(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except Exception:  # noqa: BLE001 -- besides its own error it leaks those of base64, text and numbers
        return False
    return True


ROUTES = [Route("/api/auth/webhook", hear, methods=["POST"])]
