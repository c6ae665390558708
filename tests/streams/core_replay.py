"""What the core alone makes of a log: the same records in offset order, no shell, no servers."""

from collections.abc import Iterable

from schemas.codec import Record, Unreadable, decode
from schemas.commands import COMMANDS, AnyCommand
from schemas.jobs import Job
from streams.core.apply import applied
from streams.core.effects import UserView
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy


def replayed(records: Iterable[Record], users: set[str], policy: Policy) -> dict[str, Job]:
    """Every job of these users after the records, which must be in order within each partition."""
    views: dict[str, UserView] = {}
    for record in records:
        command = decode(record)
        if isinstance(command, Unreadable) or not isinstance(command, COMMANDS) or command.user_id not in users:
            continue
        _decide(views, command, record.timestamp, policy)
    return {job_id: job for view in views.values() for job_id, job in view.jobs.items()}


def _decide(views: dict[str, UserView], command: AnyCommand, now: int, policy: Policy) -> None:
    view = views.get(command.user_id) or UserView(new_account(command.user_id))
    again = True
    while again:
        decision = decide(view, command, now, policy, now)
        view = applied(view, decision)
        again = decision.again
    views[command.user_id] = view
