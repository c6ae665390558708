"""Topic ``openv.audit``: what operators did. Appended by the command line and the admin API, changed by nobody.

An action has two entries of one ``action_id``: the intention, recorded before anything is done, and how it ended. An
intention without an end is an action that died midway. No entry holds a prompt, a secret or a message's value.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from schemas.ids import Name, Words
from schemas.instants import Instant
from schemas.shape import shape


class AuditStage(StrEnum):
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"  # ``detail`` says why; what had been done by then stays done


@shape
class AuditEntry:
    """One entry. ``actor``: the admin's user id, or user@host of the command line; ``via``: ``cli`` or ``api``;
    ``address``: from where (an IP address; the host's name of the command line). ``action``: a verb with its noun
    ("replay.execute"); ``target``: what it was done to (a job id, a user id, a topic); ``detail``: names and numbers
    that say how, as text.
    """

    TYPE: ClassVar[str] = "dev.openv.audit.entry.v1"
    action_id: Name
    stage: AuditStage
    at: Instant
    actor: str
    via: Name
    address: str
    action: Name
    target: str = ""
    reason: Words = ""
    detail: Mapping[str, str] | None = None

    @property
    def message_id(self) -> str:
        return f"{self.action_id}:{self.stage}"

    @property
    def key(self) -> str:
        return self.actor

    @property
    def subject(self) -> str:
        return self.target or self.action
