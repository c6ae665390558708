"""Which entries of the audit somebody wants to see. Pure."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from operations.core.replay_times import moment
from schemas.audit import AuditEntry


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for; None: anything. ``action`` may hold ``*`` ("replay.*"); ``actor`` is a whole name, or its
    part before the key or the host; ``since`` and ``until`` in ms, both included."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: int | None = None
    until: int | None = None

    def admits(self, entry: AuditEntry) -> bool:
        """Whether this entry is one of them."""
        return (
            (self.actor is None or _is_actor(entry.actor, self.actor))
            and (self.action is None or fnmatchcase(entry.action, self.action))
            and (self.target is None or entry.target == self.target)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at <= self.until)
        )


def instant_of(text: str, now: int) -> int | None:
    """As ``moment``; None for what is no time."""
    try:
        return moment(text, now)
    except ValueError:
        return None


def _is_actor(actor: str, asked: str) -> bool:
    return actor == asked or re.split(r"[@/]", actor, maxsplit=1)[0] == asked
