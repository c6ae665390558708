"""What a request makes of a user's endpoints and deliveries, and how both are shown."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from schemas.api.openv import FieldError
from schemas.api.webhooks import Webhook, WebhookBody, WebhookChange, WebhookDelivery, WebhookWithSecret
from schemas.deliveries import (
    TEST_KEPT_MS,
    TEST_TYPE,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Endpoint,
    Hooks,
    RetiredSecret,
    Step,
    WebhookEvent,
    kept_ms,
    step,
)
from schemas.instants import LAST, to_iso

M = TypeVar("M", bound=BaseModel)

BOTH_SIGN_MS = 86_400_000  # after a rotation
RETIRED_MAX = 8


def read(model: type[M], body: Any) -> M | tuple[FieldError, ...]:
    """The body as the model, or what is wrong with each of its fields."""
    if not isinstance(body, Mapping):
        return (FieldError(field="body", message="must be a JSON object"),)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        lines = {_line(one["loc"], one["type"], one.get("ctx", {})) for one in error.errors(include_url=False)}
        return tuple(FieldError(field=field, message=message) for field, message in sorted(lines))


def new_endpoint(body: WebhookBody, endpoint_id: str, secret: str, now: int) -> Endpoint:
    """It listens from now on: nothing of the past is told."""
    return Endpoint(
        endpoint_id=endpoint_id,
        url=body.url,
        listens=_listening({}, body.events, now),
        secret=secret,
        created_at=now,
        updated_at=now,
        description=body.description,
    )


def changed(endpoint: Endpoint, change: WebhookChange, now: int) -> Endpoint:
    """Events that were listened to go on; new ones, and all after it was off, count from now."""
    made = replace(
        endpoint,
        url=change.url if change.url is not None else endpoint.url,
        description=change.description if change.description is not None else endpoint.description,
        listens=_listening(endpoint.listens, change.events or list(endpoint.listens), now),
    )
    if change.enabled is not None and change.enabled != endpoint.enabled:
        listens = dict.fromkeys(made.listens, now) if change.enabled else made.listens
        made = replace(made, enabled=change.enabled, listens=listens, disabled_reason=None, failing_since=None)
    return endpoint if made == endpoint else replace(made, updated_at=now)


def rotated(endpoint: Endpoint, secret: str, now: int) -> Endpoint:
    """A new secret; those before it sign too, each for a day from when it was replaced."""
    still = [one for one in endpoint.retired if one.until > now]
    retired = (*still, RetiredSecret(secret=endpoint.secret, until=now + BOTH_SIGN_MS))[-RETIRED_MAX:]
    return replace(endpoint, secret=secret, retired=retired, updated_at=now)


def with_endpoint(hooks: Hooks, endpoint: Endpoint) -> Hooks:
    """The user's endpoints with this one, in the place of the one with its id or as the newest."""
    if hooks.endpoint(endpoint.endpoint_id) is None:
        endpoints = (*hooks.endpoints, endpoint)
    else:
        same = endpoint.endpoint_id
        endpoints = tuple(endpoint if one.endpoint_id == same else one for one in hooks.endpoints)
    return replace(hooks, version=hooks.version + 1, endpoints=endpoints)


def without_endpoint(hooks: Hooks, endpoint_id: str) -> Hooks:
    """The user's endpoints without that one."""
    kept = tuple(one for one in hooks.endpoints if one.endpoint_id != endpoint_id)
    return replace(hooks, version=hooks.version + 1, endpoints=kept)


def trial(user_id: str, endpoint_id: str, delivery_id: str, now: int) -> Delivery:
    """A ``webhook.test``, to be sent once and at once."""
    body = {"type": TEST_TYPE, "timestamp": to_iso(now), "data": {"webhookId": endpoint_id}}
    return Delivery(
        delivery_id=delivery_id,
        user_id=user_id,
        endpoint_id=endpoint_id,
        kind=DeliveryKind.TEST,
        type=TEST_TYPE,
        body=orjson.dumps(body).decode(),
        version=1,
        created_at=now,
        delete_at=now + TEST_KEPT_MS,
        next_at=now,
    )


def redelivered(delivery: Delivery, now: int) -> Delivery | None:
    """From the first try on, now, under the same id; None while it is being sent."""
    state = step(delivery.state, Step.REDELIVERED)
    if state is None:
        return None
    kept = max(delivery.delete_at, now + kept_ms(delivery.kind))  # or it would be swept between its tries
    return replace(
        delivery, state=state, version=delivery.version + 1, tries=0, next_at=now, reason=None, delete_at=kept
    )


def shown(endpoint: Endpoint, now: int) -> Webhook:
    """The endpoint without its secrets."""
    return Webhook(**_members(endpoint, now))


def shown_once(endpoint: Endpoint, now: int) -> WebhookWithSecret:
    """The endpoint with the secret that was just made."""
    return WebhookWithSecret(**_members(endpoint, now), secret=endpoint.secret)


def shown_delivery(delivery: Delivery) -> WebhookDelivery:
    """A delivery of the log. While it is being sent, ``next_at`` is a lease, which is nobody else's business."""
    return WebhookDelivery(
        id=delivery.delivery_id,
        type=delivery.type,
        state=delivery.state,
        created_at=delivery.created_at,
        attempts=delivery.attempts,
        job_id=delivery.job_id,
        next_attempt_at=delivery.next_at if delivery.state is DeliveryState.PENDING else None,
        reason=delivery.reason,
        url=delivery.url,
    )


def place_of(delivery: Delivery) -> str:
    """Where the page after this delivery begins."""
    return f"{delivery.created_at}.{delivery.delivery_id}"


def read_place(text: str) -> tuple[int, str] | None:
    """``place_of`` read back; None for anything else."""
    at, dot, delivery_id = text.partition(".")
    if not (dot and at.isascii() and at.isdecimal() and len(at) <= 15 and int(at) <= LAST):
        return None
    return (int(at), delivery_id) if delivery_id.isidentifier() and len(delivery_id) <= 64 else None


def _listening(before: Mapping[WebhookEvent, int], events: list[WebhookEvent], now: int) -> dict[WebhookEvent, int]:
    return {event: before.get(event, now) for event in WebhookEvent if event in events}


def _members(endpoint: Endpoint, now: int) -> dict[str, Any]:
    until = max((one.until for one in endpoint.retired), default=0)
    return {
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "events": tuple(event for event in WebhookEvent if event in endpoint.listens),
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since,
        "previous_secret_until": until if until > now else None,
    }


def _line(place: tuple[int | str, ...], kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """One wrong field in words, without its value."""
    field = str(place[0]) if place else "body"
    if kind == "missing":
        return field, "is required"
    if field == "events":
        return field, f"must be a list of one or more of {', '.join(WebhookEvent)}"
    if kind == "string_too_long":
        return field, f"must be at most {context['max_length']} characters"
    if kind == "bool_type":
        return field, "must be true or false"
    return field, "must be text"
