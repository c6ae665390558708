"""Commands to the ledger, and its refusals in the words of this API."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.errors import Problem, Refused
from gateway.http.answers import Words, ask_in, wait_s
from gateway.parts import Parts
from schemas.commands import CancelJob, RetryJob, SubmitJob
from schemas.events import CommandAnswered
from schemas.failures import FAILURES, FailureCode
from schemas.jobs import Remaining

C, P = FailureCode, Problem
# A queue that is full for now is 429 here, whatever fills it: clients of RunPod know to come back then.
REFUSALS: Mapping[FailureCode, Problem] = MappingProxyType(
    {
        C.QUOTA_EXCEEDED: P.QUOTA,
        C.CONCURRENCY_EXCEEDED: P.QUEUE_FULL,
        C.RATE_LIMITED: P.RATE,
        C.CREDITS_EXCEEDED: P.CREDITS,
        C.ACCOUNT_BLOCKED: P.BLOCKED,
        C.KEY_REUSED: P.KEY_REUSED,
        C.TOO_LATE: P.NOT_RECORDED,
    }
)
# What an operator's setting has refused says so, and which one it is.
TOO_OFTEN = (
    "You have sent too many requests to /v2 in a short time. How many are let in is the operator's to say: "
    "OPENV_SERVERLESS_REQUESTS."
)
WORDS: Mapping[FailureCode, str] = MappingProxyType(
    {
        C.QUOTA_EXCEEDED: f"{FAILURES[C.QUOTA_EXCEEDED].text}. The operator can raise it: "
        "`openv users limit USER --seconds`.",
        C.CREDITS_EXCEEDED: f"{FAILURES[C.CREDITS_EXCEEDED].text} The operator can give you more: "
        "`openv users credits USER --grant`.",
    }
)
ENDPOINT = "ENDPOINT"  # stands for its name in these words
# By the limits that refused: the endpoint's own, or (an endpoint without any) the deployment's.
OF_ENDPOINT: Mapping[FailureCode, str] = MappingProxyType(
    {
        C.CONCURRENCY_EXCEEDED: "You have as many jobs on this endpoint as you may have; wait until some have ended. "
        "The operator can allow more: `openv endpoints update ENDPOINT --max-active`.",
        C.RATE_LIMITED: "You have sent this endpoint too many jobs in a short time. The operator can let in more: "
        "`openv endpoints update ENDPOINT --rate-limit`.",
    }
)
OF_DEPLOYMENT: Mapping[FailureCode, str] = MappingProxyType(
    {
        C.CONCURRENCY_EXCEEDED: "You have as many jobs as you may have, here and through the web API together; wait "
        "until some have ended. The operator can allow more: `openv users limit USER --max-active`, OPENV_MAX_ACTIVE.",
        C.RATE_LIMITED: "You have sent too many jobs in a short time, here and through the web API together. The "
        "operator can let in more: `openv users limit USER --rate`, OPENV_RATE_LIMIT.",
    }
)


async def sent(
    parts: Parts, command: SubmitJob | CancelJob | RetryJob, *, append_by: int | None = None
) -> CommandAnswered | None:
    """The ledger's answer, unless it is no; None: recorded, not decided yet. Raises ``Refused``."""
    measured = None if isinstance(command, CancelJob) or command.limits is None else command.endpoint
    words = Words(
        not_recorded=Refused(Problem.NOT_RECORDED),
        not_found=Refused(Problem.NO_JOB),
        refused=lambda answer: refused(answer.code, answer.remaining, measured),
    )
    return await ask_in(words, parts, command, append_by)


def refused(code: FailureCode | None, remaining: Remaining | None, endpoint_id: str | None) -> Refused:
    """What a refused job's client is told. ``endpoint_id``: whose own limits measured it; None: the deployment's."""
    problem = Problem.REFUSED if code is None else REFUSALS.get(code, Problem.REFUSED)
    of_limits = OF_DEPLOYMENT if endpoint_id is None else OF_ENDPOINT
    words = None if code is None else WORDS.get(code) or of_limits.get(code)
    words = None if words is None else words.replace(ENDPOINT, endpoint_id or ENDPOINT)
    if code is not None and problem is Problem.REFUSED:
        words = FAILURES[code].text
    return Refused(problem, words=words, retry_after=wait_s(remaining))
