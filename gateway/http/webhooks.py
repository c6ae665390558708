"""``/api/webhooks``: a user's endpoints, their log, tests and redelivery by hand. The notifier sends.

``jobs`` stands for all the addresses that jobs of RunPod's API came with: they have a log and redelivery, no more.

Somebody else's ids are 404, as those of nobody. Every change is a compare-and-set of the user's one document.
"""

import base64
import secrets
from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.core import webhooks as core
from gateway.errors import Problem, Refused
from gateway.http.answers import shed
from gateway.http.bodies import read_json
from gateway.identity.guard import caller, maker
from gateway.identity.principal import Principal
from gateway.parts import Parts, parts_of
from repo.outgoing import wrong_with_url
from schemas.access import Scope
from schemas.api.openv import FieldError
from schemas.api.webhooks import (
    PAGE_DEFAULT,
    PAGE_MAX,
    WebhookBody,
    WebhookChange,
    WebhookDeliveries,
    Webhooks,
)
from schemas.deliveries import JOBS, Delivery, Endpoint
from schemas.shape import to_plain

T = TypeVar("T")

SECRET_BYTES = 32


async def create(request: Request) -> Response:
    """``POST /api/webhooks``: 201 with the endpoint and its secret, which is never shown again."""
    parts, principal = await _calling(request)
    body = _read(core.read(WebhookBody, await read_json(request, parts.settings.body_bytes)))
    await _check(parts, body.url)
    endpoint = core.new_endpoint(body, f"wh_{uuid4().hex}", _new_secret(), parts.now())
    while True:
        hooks = await parts.notifications.store.hooks(principal.user_id)
        if len(hooks.endpoints) >= parts.notifications.per_user:
            raise Refused(Problem.WEBHOOKS_FULL, limit=parts.notifications.per_user)
        if await parts.notifications.store.store_hooks(core.with_endpoint(hooks, endpoint), hooks.version):
            break
    shown = to_plain(core.shown_once(endpoint, parts.now()))
    return JSONResponse(shown, status_code=201, headers={"Location": f"/api/webhooks/{endpoint.endpoint_id}"})


async def listed(request: Request) -> Response:
    """``GET /api/webhooks``."""
    parts = parts_of(request)
    principal = await caller(request)
    hooks = await parts.notifications.store.hooks(principal.user_id)
    return JSONResponse(to_plain(Webhooks(webhooks=tuple(core.shown(one, parts.now()) for one in hooks.endpoints))))


async def one(request: Request) -> Response:
    """``GET /api/webhooks/{webhook_id}``."""
    parts = parts_of(request)
    endpoint = await _own(parts, await caller(request), request)
    return JSONResponse(to_plain(core.shown(endpoint, parts.now())))


async def change(request: Request) -> Response:
    """``PATCH /api/webhooks/{webhook_id}``: the endpoint as it is now."""
    parts, principal = await _calling(request)
    body = _read(core.read(WebhookChange, await read_json(request, parts.settings.body_bytes)))
    await _own(parts, principal, request)
    if body.url is not None:
        await _check(parts, body.url)
    endpoint = await _replace(parts, principal, request, lambda known: core.changed(known, body, parts.now()))
    return JSONResponse(to_plain(core.shown(endpoint, parts.now())))


async def rotate(request: Request) -> Response:
    """``POST /api/webhooks/{webhook_id}/rotate``: a new secret, shown once; the old one signs too for 24 hours."""
    parts, principal = await _calling(request)
    secret = _new_secret()
    endpoint = await _replace(parts, principal, request, lambda known: core.rotated(known, secret, parts.now()))
    return JSONResponse(to_plain(core.shown_once(endpoint, parts.now())))


async def delete(request: Request) -> Response:
    """``DELETE /api/webhooks/{webhook_id}``: 204; what was still to be sent is not, and its log goes."""
    parts, principal = await _changing(request)
    endpoint = await _own(parts, principal, request)
    while True:
        hooks = await parts.notifications.store.hooks(principal.user_id)
        if hooks.endpoint(endpoint.endpoint_id) is None:
            break
        without = core.without_endpoint(hooks, endpoint.endpoint_id)
        if await parts.notifications.store.store_hooks(without, hooks.version):
            break
    await parts.notifications.store.forget_endpoint(principal.user_id, endpoint.endpoint_id)
    return Response(status_code=204)


async def test(request: Request) -> Response:
    """``POST /api/webhooks/{webhook_id}/test``: 202; a ``webhook.test`` is sent once, its outcome is in the log."""
    parts, principal = await _calling(request)
    endpoint = await _own(parts, principal, request)
    delivery_id = f"msg_{uuid4().hex}"
    delivery = core.trial(principal.user_id, endpoint.endpoint_id, delivery_id, parts.now())
    await parts.notifications.store.add(delivery)
    return JSONResponse(to_plain(core.shown_delivery(delivery)), status_code=202)


async def deliveries(request: Request) -> Response:
    """``GET /api/webhooks/{webhook_id}/deliveries?before=&limit=``: what the endpoint was told, newest first."""
    parts = parts_of(request)
    principal = await caller(request)
    endpoint = await _own(parts, principal, request)
    return await _log(parts, principal, request, endpoint.endpoint_id)


async def job_deliveries(request: Request) -> Response:
    """``GET /api/webhooks/jobs/deliveries?jobId=&before=&limit=``: what the addresses were told that jobs came with."""
    parts = parts_of(request)
    principal = await caller(request)
    return await _log(parts, principal, request, JOBS, request.query_params.get("jobId"))


async def redeliver(request: Request) -> Response:
    """``POST /api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver``: 202; sent again, under its old id."""
    parts, principal = await _calling(request)
    endpoint = await _own(parts, principal, request)
    if not endpoint.enabled:
        raise Refused(Problem.WEBHOOK_DISABLED)
    return await _again(parts, principal, request, endpoint.endpoint_id)


async def redeliver_job(request: Request) -> Response:
    """``POST /api/webhooks/jobs/deliveries/{delivery_id}/redeliver``: 202; three tries again, under its old id."""
    parts, principal = await _calling(request)
    return await _again(parts, principal, request, JOBS)


async def _changing(request: Request) -> tuple[Parts, Principal]:
    """The caller of a route that changes something. Raises ``Refused``."""
    return _counted(request, await caller(request, Scope.WRITE))


async def _calling(request: Request) -> tuple[Parts, Principal]:
    """As ``_changing``, where what changes makes the server call an address: for those who may make videos alone."""
    return _counted(request, await maker(request))


def _counted(request: Request, principal: Principal) -> tuple[Parts, Principal]:
    parts = parts_of(request)
    shed(parts.notifications.changes, principal.user_id, parts.now())
    return parts, principal


async def _own(parts: Parts, principal: Principal, request: Request) -> Endpoint:
    hooks = await parts.notifications.store.hooks(principal.user_id)
    endpoint = hooks.endpoint(request.path_params["webhook_id"])
    if endpoint is None:
        raise Refused(Problem.NO_WEBHOOK)
    return endpoint


async def _log(
    parts: Parts, principal: Principal, request: Request, endpoint_id: str, job_id: str | None = None
) -> Response:
    """A page of what was sent to this endpoint of the caller."""
    before, limit = _page(request)
    found = await parts.notifications.store.deliveries_of(
        principal.user_id, endpoint_id, before=before, limit=limit + 1, job_id=job_id
    )
    page = found[:limit]
    following = core.place_of(page[-1]) if len(found) > limit else None
    shown = tuple(core.shown_delivery(delivery) for delivery in page)
    return JSONResponse(to_plain(WebhookDeliveries(deliveries=shown, next=following)))


async def _again(parts: Parts, principal: Principal, request: Request, endpoint_id: str) -> Response:
    """From the first try on, until no other writer comes between. Raises ``Refused`` while it is being sent."""
    while True:
        delivery = await _own_delivery(parts, principal, endpoint_id, request.path_params["delivery_id"])
        again = core.redelivered(delivery, parts.now())
        if again is None:
            raise Refused(Problem.BEING_SENT)
        if await parts.notifications.store.store_delivery(again, delivery.version):
            return JSONResponse(to_plain(core.shown_delivery(again)), status_code=202)


async def _own_delivery(parts: Parts, principal: Principal, endpoint_id: str, delivery_id: str) -> Delivery:
    delivery = await parts.notifications.store.delivery(delivery_id)
    theirs = (principal.user_id, endpoint_id)
    if delivery is None or (delivery.user_id, delivery.endpoint_id) != theirs:
        raise Refused(Problem.NO_DELIVERY)
    return delivery


async def _replace(
    parts: Parts, principal: Principal, request: Request, made: Callable[[Endpoint], Endpoint]
) -> Endpoint:
    """Until no other writer comes between. Raises ``Refused`` where the endpoint is gone."""
    while True:
        hooks = await parts.notifications.store.hooks(principal.user_id)
        known = hooks.endpoint(request.path_params["webhook_id"])
        if known is None:
            raise Refused(Problem.NO_WEBHOOK)
        endpoint = made(known)
        if endpoint == known or await parts.notifications.store.store_hooks(
            core.with_endpoint(hooks, endpoint), hooks.version
        ):
            return endpoint


async def _check(parts: Parts, url: str) -> None:
    """Raises ``Refused`` for an address that will not be sent to. (It is judged again at every try.)"""
    wrong = await wrong_with_url(url, parts.notifications.rules, parts.notifications.resolver)
    if wrong is not None:
        raise Refused(Problem.INVALID, details=[to_plain(FieldError(field="url", message=wrong))])


def _read(read: T | tuple[FieldError, ...]) -> T:
    if isinstance(read, tuple):
        raise Refused(Problem.INVALID, details=[to_plain(line) for line in read])
    return read


def _page(request: Request) -> tuple[tuple[int, str] | None, int]:
    query = request.query_params
    before = core.read_place(query["before"]) if "before" in query else None
    if "before" in query and before is None:
        raise Refused(Problem.BAD_QUERY, words="Invalid before: take it from `next` of the previous page")
    text = query.get("limit", str(PAGE_DEFAULT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= PAGE_MAX):
        raise Refused(Problem.BAD_QUERY, words=f"Invalid limit: a whole number from 1 to {PAGE_MAX}")
    return before, int(text)


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


ROUTES = [
    Route("/api/webhooks", listed, methods=["GET"]),
    Route("/api/webhooks", create, methods=["POST"]),
    Route("/api/webhooks/jobs/deliveries", job_deliveries, methods=["GET"]),  # before those of any webhook
    Route("/api/webhooks/jobs/deliveries/{delivery_id}/redeliver", redeliver_job, methods=["POST"]),
    Route("/api/webhooks/{webhook_id}", one, methods=["GET"]),
    Route("/api/webhooks/{webhook_id}", change, methods=["PATCH"]),
    Route("/api/webhooks/{webhook_id}", delete, methods=["DELETE"]),
    Route("/api/webhooks/{webhook_id}/rotate", rotate, methods=["POST"]),
    Route("/api/webhooks/{webhook_id}/test", test, methods=["POST"]),
    Route("/api/webhooks/{webhook_id}/deliveries", deliveries, methods=["GET"]),
    Route("/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", redeliver, methods=["POST"]),
]
