"""What follows from Clerk's news of a user: what is known of the person, and, at the end, a word to the ledger.

Repeating is harmless, and whoever sends repeats until it is answered 200; so every step may be the last one done.
Between Clerk's events Clerk's own times decide. Towards the ledger the time of this machine when the news first came
does (kept in the tombstone as ``deleted_at``), so that a role given meanwhile does not keep a deleted user here, and
that the same news, told again after somebody was let back in, changes nothing.
"""

from uuid import uuid4

from gateway.core.clerk_events import NotOurs, UserGone, UserTold
from gateway.decisions import NotRecorded
from gateway.parts import Parts
from repo.ports import Unavailable
from schemas.access import Person
from schemas.commands import AnyCommand, DeleteUser, SetRole


async def take(parts: Parts, event: UserTold | UserGone | NotOurs) -> Person | None:
    """All of it is durable on return: what is known of the person then. Raises ``Unavailable``."""
    match event:
        case UserTold(person=person, is_new=is_new):
            return await _told(parts, person, is_new)
        case UserGone(user_id=user_id, at=at):
            await _gone(parts, user_id, at)
    return None


async def _told(parts: Parts, person: Person, is_new: bool) -> Person | None:
    known = await parts.access.person(person.user_id)
    if known is not None and known.deleted_at is not None:
        if not is_new or person.updated_at <= known.updated_at:
            return known
        back_at = max(person.updated_at, known.deleted_at + 1)  # the same, however often and at once it is told
        role = parts.settings.default_role
        # First, as long as the tombstone still says that there is something to do.
        await _record(parts, SetRole(command_id=str(uuid4()), user_id=person.user_id, role=role, issued_at=back_at))
    elif await _was_deleted_here(parts, person.user_id):
        return known
    return person if await parts.access.store_person(person) else await parts.access.person(person.user_id)


async def _was_deleted_here(parts: Parts, user_id: str) -> bool:
    """By an operator: Clerk's user lives on, but nothing more is kept of the person."""
    account = await parts.store.account(user_id)
    return account is not None and account.deleted_at is not None


async def _gone(parts: Parts, user_id: str, at: int) -> None:
    account = await parts.store.account(user_id)
    first_heard_at = max(parts.now(), account.role_issued_at if account is not None else 0)
    tombstone = Person(user_id=user_id, updated_at=at, deleted_at=first_heard_at)
    if not await parts.access.store_person(tombstone):
        known = await parts.access.person(user_id)
        if known is None or known.deleted_at is None:
            return  # who came back since
        tombstone = known
    issued_at = tombstone.deleted_at or first_heard_at
    await _record(parts, DeleteUser(command_id=str(uuid4()), user_id=user_id, issued_at=issued_at))


async def _record(parts: Parts, command: AnyCommand) -> None:
    """In the log on return, decided or not. Raises ``Unavailable``."""
    try:
        await parts.decisions.ask(command)
    except NotRecorded:
        raise Unavailable("kafka", "the command could not be recorded") from None
