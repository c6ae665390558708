"""What the core alone makes of a log: the same records in offset order, no shell, no servers."""

from collections.abc import Iterable

from schemas.codec import Record, Unreadable, decode
from schemas.commands import COMMANDS, AnyCommand
from schemas.events import CommandAnswered
from schemas.jobs import Job
from streams.core.apply import applied
from streams.core.effects import Decision, UserView
from streams.core.ledger import decide, new_account
from streams.core.policy import Policy
from streams.core.recorded import first_recorded


class CoreReplay:
    """Every user's view, moved by one record after the other, in order within each partition."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.views: dict[str, UserView] = {}

    def take(self, command: AnyCommand, now: int) -> list[Decision]:
        """What the core decides on the command, recorded at ``now`` (ms): usually one decision."""
        view = self.views.get(command.user_id) or UserView(new_account(command.user_id))
        decisions: list[Decision] = []
        while not decisions or decisions[-1].again:
            decisions.append(decide(view, command, now, self._policy, now))
            view = applied(view, decisions[-1])
        self.views[command.user_id] = view
        return decisions


def replayed(records: Iterable[Record], users: set[str], policy: Policy) -> dict[str, Job]:
    """Every job of these users after the records, which must be in order within each partition."""
    views, _ = _replay(records, users, policy)
    return {job_id: job for view in views.values() for job_id, job in view.jobs.items()}


def answered(records: Iterable[Record], users: set[str], policy: Policy) -> dict[str, CommandAnswered]:
    """The answer to every command of these users that has one, by its id; records as above."""
    return _replay(records, users, policy)[1]


def _replay(
    records: Iterable[Record], users: set[str], policy: Policy
) -> tuple[dict[str, UserView], dict[str, CommandAnswered]]:
    views: dict[str, UserView] = {}
    answers: dict[str, CommandAnswered] = {}
    for record in records:
        command = decode(record)
        if isinstance(command, Unreadable) or not isinstance(command, COMMANDS) or command.user_id not in users:
            continue
        for decision in _decide(views, command, record, policy):
            if decision.answer is not None:
                answers[command.command_id] = decision.answer
    return views, answers


def _decide(views: dict[str, UserView], command: AnyCommand, record: Record, policy: Policy) -> list[Decision]:
    view, now = views.get(command.user_id) or UserView(new_account(command.user_id)), record.timestamp
    decisions: list[Decision] = []
    while not decisions or decisions[-1].again:
        decisions.append(decide(view, command, now, policy, now, first_recorded(record)))
        view = applied(view, decisions[-1])
    views[command.user_id] = view
    return decisions
