"""Clerk's news of its users, read out of the body of a webhook whose signature is good.

Order does not hold between them: ``at`` is Clerk's own time of what happened, by which the newest word wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.access import Person
from schemas.ids import is_name
from schemas.instants import LAST

TEXT_MAX = 2048


@dataclass(frozen=True, slots=True)
class UserTold:
    """A user exists and is as ``person`` says. Only news of ``is_new`` ones can bring back one who was deleted."""

    person: Person
    is_new: bool


@dataclass(frozen=True, slots=True)
class UserGone:
    """A user was deleted."""

    user_id: str
    at: int


@dataclass(frozen=True, slots=True)
class NotOurs:
    """News of something else."""


ClerkEvent = UserTold | UserGone | NotOurs


class BadEvent(Exception):
    """It does not say what Clerk says; the message names the member, never its value."""


def read_event(body: Any, sent_at: int) -> ClerkEvent:
    """The event of a JSON body. ``sent_at`` (ms) is when this delivery of it was signed. Raises ``BadEvent``."""
    if not isinstance(body, Mapping) or not isinstance(body.get("type"), str):
        raise BadEvent("type")
    kind, data = body["type"], body.get("data")
    if kind not in {"user.created", "user.updated", "user.deleted"}:
        return NotOurs()
    if not isinstance(data, Mapping):
        raise BadEvent("data")
    user_id = data.get("id")
    if not isinstance(user_id, str) or not is_name(user_id):
        raise BadEvent("data.id")
    if kind == "user.deleted":
        told_at = _instant(body.get("timestamp"))
        return UserGone(user_id, sent_at if told_at is None else told_at)
    updated_at = _instant(data.get("updated_at"))
    if updated_at is None:
        raise BadEvent("data.updated_at")
    person = Person(
        user_id=user_id,
        updated_at=updated_at,
        email=_email(data),
        first_name=_text(data.get("first_name")),
        last_name=_text(data.get("last_name")),
        image_url=_text(data.get("image_url")) or _text(data.get("profile_image_url")),
    )
    return UserTold(person, is_new=kind == "user.created")


def as_openv(person: Person | None) -> dict[str, Any] | None:
    """What OpenV answers as ``result``: the members that it keeps of a person, under its own names."""
    if person is None:
        return None
    return {
        "user_id": person.user_id,
        "email": person.email,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "profile_image_url": person.image_url,
    }


def _email(data: Mapping[str, Any]) -> str | None:
    """The primary address; the first where none is named so."""
    listed = data.get("email_addresses")
    addresses = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    primary_id = data.get("primary_email_address_id")
    primary = [one for one in addresses if primary_id is not None and one.get("id") == primary_id]
    return next((text for one in [*primary, *addresses] if (text := _text(one.get("email_address")))), None)


def _text(value: Any) -> str | None:
    return value[:TEXT_MAX] if isinstance(value, str) and value else None


def _instant(value: Any) -> int | None:
    """Milliseconds since the epoch, as Clerk counts."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < LAST else None
