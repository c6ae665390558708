"""Where a user stands: the fold that admissions are decided by, told to whoever asks."""

from schemas.commands import AskUsage
from schemas.events import Outcome
from streams.core.case import Case
from streams.core.effects import Decision


def usage(case: Case, command: AskUsage) -> Decision:
    """An answer with ``remaining`` as of the record's time; no write and no announcement, whoever the user is."""
    return case.decided(command, Outcome.UNCHANGED)
