"""Every refusal of the admin API: status and words, one table. Nothing of an exception reaches a client but the words
that the command line says too.

Bodies are ``{"error": words, "code": name}``, as the gateway's; some have further members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from starlette.responses import JSONResponse, Response


class Problem(StrEnum):
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    TOO_MANY_TRIES = "too_many_tries"
    INVALID = "invalid"
    NOT_JSON = "not_json"
    BAD_BODY = "bad_body"
    TOO_LARGE = "too_large"
    NO_ROUTE = "no_route"
    NO_METHOD = "no_method"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    NOT_DECIDED = "not_decided"
    UNAVAILABLE = "unavailable"
    BUSY = "busy"
    DAMAGED = "damaged_document"


@dataclass(frozen=True, slots=True)
class Row:
    """``retry_after`` in seconds."""

    status: int
    words: str
    retry_after: int | None = None


P = Problem
PROBLEMS: Mapping[Problem, Row] = MappingProxyType(
    {
        # The same words whatever was shown: nobody learns here whether a key is good, or for what.
        P.UNAUTHORIZED: Row(401, "Unauthorized: this address wants an admin's API key as a Bearer."),
        P.FORBIDDEN: Row(403, "Forbidden: this address wants a key of role admin with the scope admin."),
        P.TOO_MANY_TRIES: Row(429, "Too many requests without a good key came from this address; wait a minute."),
        P.INVALID: Row(400, "The request is not valid; `details` says where."),
        P.NOT_JSON: Row(415, "The body has to be JSON, with Content-Type: application/json."),
        P.BAD_BODY: Row(400, "The body did not arrive whole."),
        P.TOO_LARGE: Row(413, "The body is too large."),
        P.NO_ROUTE: Row(404, "There is nothing at this address."),
        P.NO_METHOD: Row(405, "This address does not take that method."),
        P.NOT_FOUND: Row(404, "There is none of that name."),
        P.REFUSED: Row(409, "It can't be done."),
        P.NOT_DECIDED: Row(
            503, "Recorded, not decided yet: no ledger answered in time. It is carried out when one runs.", 5
        ),
        P.UNAVAILABLE: Row(503, "A server that this needs does not answer; try again soon.", 2),
        P.BUSY: Row(429, "Too much is under way at once; wait until some of it has ended.", 5),
        P.DAMAGED: Row(409, "A stored document that this needs is damaged."),
    }
)


class Refused(Exception):
    """A request ends here. ``words`` replace the table's, ``members`` join the body; ``retry_after`` in seconds."""

    def __init__(
        self, problem: Problem, *, words: str | None = None, retry_after: int | None = None, **members: Any
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.words = words
        self.retry_after = retry_after
        self.members = members


def body_of(refused: Refused) -> dict[str, Any]:
    """What a client reads of it."""
    return {
        "error": refused.words or PROBLEMS[refused.problem].words,
        "code": refused.problem.value,
        **refused.members,
    }


def answer(refused: Refused) -> Response:
    """The response."""
    row = PROBLEMS[refused.problem]
    headers = {}
    retry_after = refused.retry_after or row.retry_after
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body_of(refused), status_code=row.status, headers=headers)
