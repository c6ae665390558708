"""Editing: another value is sent to the topic that a letter came from. The letter stays as it is; the audit says who
sent what instead, by digests."""

from dataclasses import dataclass

from operations.audit.recording import Actor, audited
from operations.core.dead_letter_edits import BadEdit, compact, difference, digest, rebuilt
from operations.core.dead_letters import Seen, Standing
from operations.replay.naming import new_name
from operations.replay.room import Room
from operations.stack.errors import StackError
from repo.clock import now_ms
from schemas.codec import Encoded
from schemas.dispositions import Disposition, Fate


@dataclass(frozen=True, slots=True)
class Edit:
    """What would be sent for a letter. ``difference``: to look at; it quotes the value."""

    seen: Seen
    edit_id: str
    record: Encoded
    difference: str


def prepared(seen: Seen, value: bytes, *, kind: str | None = None) -> Edit:
    """Another value, checked as its topic's readers will. Raises ``StackError`` with what is wrong."""
    if seen.letter.topic is None:
        raise StackError(f"No header says where {seen.place} came from: it can't be sent anywhere.")
    edit_id = new_name("e")
    try:
        after = compact(value)
        record = rebuilt(seen, after, edit_id, kind=kind)
        return Edit(seen, edit_id, record, difference(seen.record.value, after))
    except BadEdit as error:
        raise StackError(str(error)) from None


async def send(room: Room, edit: Edit, actor: Actor, *, again: bool = False, reason: str = "") -> None:
    """Send it, once. Raises ``StackError`` where something was done with the letter before, unless it is meant
    (``again``); ``Unavailable``: it may be recorded all the same."""
    seen = edit.seen
    if seen.standing is not Standing.OPEN and not again:
        raise StackError(f"{seen.place} is {seen.standing}: say --again if it is to go once more.")
    disposition = Disposition(
        letter=seen.place,
        letter_at=seen.record.timestamp,
        fate=Fate.EDITED,
        at=now_ms(),
        actor=actor.name,
        reason=reason,
        replay_id=edit.edit_id,
        before=digest(seen.record.value),
        after=digest(edit.record.value),
    )
    detail = {
        "edit": edit.edit_id, "topic": edit.record.topic, "before": disposition.before or "",
        "after": disposition.after or "",
    }  # fmt: skip
    async with audited(room.log, actor, "deadletters.edit", target=seen.place, reason=reason, detail=detail) as audit:
        over = again or seen.disposition is not None
        if not await room.database.dispositions.dispose([disposition], over=over):
            raise StackError(f"{seen.place} was redriven or discarded by somebody else meanwhile. Nothing was sent.")
        position = await room.log.append(edit.record)
        audit.detail["sent_to"] = f"{edit.record.topic}/{position.partition}/{position.offset}"
