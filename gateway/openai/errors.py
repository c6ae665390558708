"""Refusals in OpenAI's form, ``{"error":{message,type,param,code}}``, made of the same table as everybody's.

The SDKs choose an exception by the status, and try 409, 429 and 5xx again by themselves: statuses are OpenAI's where it
has one for the case, and what would only fail again says so (``x-should-retry``).
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.errors import PROBLEMS, Problem, Refused, Told
from schemas.api.openai import ErrorWords, OpenAIError

P = Problem
CONCURRENCY_RETRY_S = 5
NO_RETRY = {"x-should-retry": "false"}

STATUS: Mapping[Problem, int] = MappingProxyType(
    {P.QUOTA: 429, P.CREDITS: 429, P.CONCURRENCY: 429, P.KEY_REUSED: 400, P.DELETED: 400}
)
CODE: Mapping[Problem, str] = MappingProxyType(
    {
        P.UNAUTHORIZED: "invalid_api_key",
        P.QUOTA: "insufficient_quota",
        P.CREDITS: "insufficient_quota",
        P.CONCURRENCY: "rate_limit_exceeded",
        P.RATE: "rate_limit_exceeded",
        P.INVALID: "invalid_value",
        P.BAD_QUERY: "invalid_value",
    }
)
_IDEMPOTENCY = frozenset({P.BAD_KEY, P.KEY_REUSED, P.DELETED})
_HEADERS: Mapping[Problem, Mapping[str, str]] = MappingProxyType(
    {
        P.QUOTA: NO_RETRY,
        P.CREDITS: NO_RETRY,
        P.NOT_READY: NO_RETRY,
        P.STORE_UNKNOWN: NO_RETRY,
        P.DAMAGED: NO_RETRY,
        P.CONCURRENCY: {"Retry-After": str(CONCURRENCY_RETRY_S)},
    }
)


def openai_told(refused: Refused) -> Told:
    """A refusal in OpenAI's form."""
    problem, row = refused.problem, PROBLEMS[refused.problem]
    status = STATUS.get(problem, row.status)
    code = CODE.get(problem) or row.code or problem.value
    param = refused.members.get("param", "Idempotency-Key" if problem in _IDEMPOTENCY else None)
    error = ErrorWords(message=_message(refused), type=_type(status, code), param=param, code=code)
    return Told(status, OpenAIError(error=error).model_dump(), _HEADERS.get(problem, {}))


def _message(refused: Refused) -> str:
    """The words, with what OpenV tells in members of their own."""
    words = refused.words or PROBLEMS[refused.problem].words
    members = refused.members
    if refused.problem is P.UNAUTHORIZED:
        return (
            "No API key was given, or one that is not good: send Authorization: Bearer and a user's API key of OpenV's "
            "(`openv keys create`); a key of workers does not open it."
        )
    if "scope" in members:
        return f"{words} The scope is: {members['scope']}."
    if "limitBytes" in members:
        return f"{words} It may have {members['limitBytes']} bytes."
    return f"{words}: {members['message']}." if "message" in members else words


def _type(status: int, code: str) -> str:
    if status >= 500:
        return "server_error"
    if status == 429:
        return code if code == "insufficient_quota" else "rate_limit_error"
    return "invalid_request_error"
