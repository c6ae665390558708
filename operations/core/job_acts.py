"""What an operator may do to a job, by its state; and in words. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from schemas.events import CommandAnswered
from schemas.failures import FAILURES
from schemas.instants import to_iso
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, TRANSITIONS, Fact, State
from streams.core.reports import vanishes


class Verb(StrEnum):
    REQUEUE = "requeue"
    KILL = "kill"
    CANCEL = "cancel"
    DELETE = "delete"


class Way(StrEnum):
    """What is sent to the ledger."""

    HAND_BACK = "its attempt is handed back: it is made again at once, at the cost of no try"
    RETRY = "another run is asked for, measured by the user's limits and charged as a new one"
    END = "its attempt is ended: it costs a try, and where none is left the job fails and is refunded"
    CANCEL = "it is cancelled"
    DELETE = "it and its files are deleted"


_BY_STATE = {state: Way.RETRY for state in State if Fact.RETRIED in TRANSITIONS[state]}
WAYS: Mapping[Verb, Mapping[State, Way]] = MappingProxyType(
    {
        Verb.REQUEUE: {State.PROCESSING: Way.HAND_BACK, **_BY_STATE},
        Verb.KILL: {State.PROCESSING: Way.END},
        Verb.CANCEL: dict.fromkeys(ACTIVE, Way.CANCEL),
        Verb.DELETE: {state: Way.DELETE for state in State if Fact.DELETED in TRANSITIONS[state]},
    }
)
# Where nothing needs to be done, because it is so already.
FULFILLED: Mapping[Verb, State] = MappingProxyType(
    {Verb.REQUEUE: State.QUEUED, Verb.CANCEL: State.CANCELLED, Verb.DELETE: State.DELETED}
)


def way_of(verb: Verb, job: Job) -> Way | None:
    """What is sent for it; None: nothing, and ``why_not`` says why."""
    way = WAYS[verb].get(job.state)
    return None if way is Way.HAND_BACK and vanishes(job, job.worker_id) else way


def why_not(verb: Verb, job: Job) -> str:
    """Why nothing is sent for a job in this state: it is so already, or can't be."""
    if WAYS[verb].get(job.state) is Way.HAND_BACK:
        return (
            "External workers gave it back too often in this run: once more would cost it a try, or fail it. "
            "`openv jobs kill` ends the attempt at that cost."
        )
    if FULFILLED.get(verb) is job.state:
        return f"Nothing to do: {standing(job)}"
    if verb is Verb.KILL and job.state is State.QUEUED:
        return f"Nobody runs it: {standing(job)} `openv jobs cancel` ends it."
    return f"It can't be done to a job that is {job.state}."


def standing(job: Job) -> str:
    """How the job stands, in a sentence."""
    tries = f"try {job.tries} of {job.max_retries + 1}"
    match job.state:
        case State.QUEUED:
            return f"it waits as attempt {job.attempt} ({tries}), due {to_iso(job.due_at)}."
        case State.PROCESSING:
            return f"it runs as attempt {job.attempt} ({tries}) on {job.worker_id}."
    code = f", {job.failure.code}" if job.failure and str(job.failure.code) != str(job.state) else ""
    return f"it is {job.state}{code}; {job.charge.seconds:g} s {job.charge.state}."


def refusal(answer: CommandAnswered) -> str:
    """Why the ledger refused another run, in a sentence, and where the user stands."""
    words = FAILURES[answer.code].text.rstrip(".") if answer.code else "No reason was given"
    left = answer.remaining
    if left is None:
        return f"The ledger refused: {words}."
    seconds = (
        f"{left.remaining_seconds:g} of {left.limit_seconds:g} s left, {left.active} of {left.max_active} under way"
    )
    again = f"; in {left.retry_after_ms / 1000:g} s it has a chance" if left.retry_after_ms else ""
    return f"The ledger refused: {words} ({answer.code}; {answer.user_id} has {seconds}{again})."
