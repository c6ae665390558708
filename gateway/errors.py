"""Every refusal the HTTP API can give: its status and words, one table. Nothing of an exception reaches a client.

OpenV's clients read ``{"message"}`` where it refuses an account, and ``{"error"}`` elsewhere; words that are OpenV's
are so to the letter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from starlette.responses import JSONResponse, Response

from schemas.failures import FAILURES, FailureCode


class Problem(StrEnum):
    UNAUTHORIZED = "unauthorized"
    NO_CALLER = "no_caller"
    NO_KEY = "no_key"
    NO_WORKER_KEY = "no_worker_key"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    RESTRICTED = "restricted"
    ADMIN_ONLY = "admin_only"
    SCOPE = "scope"
    TERMS = "terms"
    TERMS_CHANGED = "terms_changed"
    VOUCHER_REQUIRED = "voucher_required"
    VOUCHER_CODE = "voucher_code"
    VOUCHER_TAKEN = "voucher_taken"
    VOUCHER_INVALID = "voucher_invalid"
    VOUCHER_INACTIVE = "voucher_inactive"
    VOUCHER_EXPIRED = "voucher_expired"
    VOUCHER_USED = "voucher_used"
    NO_VOUCHER = "no_voucher"
    INVALID = "invalid"
    NOT_JSON = "not_json"
    BAD_QUERY = "bad_query"
    BAD_KEY = "bad_key"
    TOO_LARGE = "too_large"
    BAD_BODY = "bad_body"
    BAD_FORM = "bad_form"
    UNSUPPORTED = "unsupported"
    NO_MODEL = "no_model"
    NO_ENDPOINT = "no_endpoint"
    NO_JOB = "no_job"
    RESULT_GONE = "result_gone"
    TOO_NESTED = "too_nested"
    NO_ROOM = "no_room"
    QUEUE_FULL = "queue_full"
    TOO_MANY_WAIT = "too_many_wait"
    NOT_RETRYABLE = "not_retryable"
    KEY_OF_DELETED = "key_of_deleted"
    BAD_JOB_IDS = "bad_job_ids"
    QUOTA = "quota"
    CONCURRENCY = "concurrency"
    RATE = "rate"
    SOCKETS = "sockets"
    CREDITS = "credits"
    BLOCKED = "blocked"
    KEY_REUSED = "key_reused"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    NO_WEBHOOK = "no_webhook"
    NO_DELIVERY = "no_delivery"
    WEBHOOKS_FULL = "webhooks_full"
    WEBHOOK_DISABLED = "webhook_disabled"
    BEING_SENT = "being_sent"
    NO_ROUTE = "no_route"
    NO_METHOD = "no_method"
    FINISHED = "finished"
    NOT_FINISHED = "not_finished"
    NOT_READY = "not_ready"
    DELETED = "deleted"
    UNAVAILABLE = "unavailable"
    STORE_UNKNOWN = "store_unknown"
    NOT_RECORDED = "not_recorded"
    DAMAGED = "damaged"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Row:
    """HTTP status, words, and the member that carries them; ``code`` is for programs, where a status is not enough."""

    status: int
    words: str
    member: str = "error"
    retry_after: int | None = None
    code: str | None = None


P = Problem
PROBLEMS: Mapping[Problem, Row] = MappingProxyType(
    {
        P.UNAUTHORIZED: Row(401, "Unauthorized", "message"),
        P.NO_CALLER: Row(401, "Unauthorized"),  # where OpenV says it in the other member
        # The same words whatever was shown: nobody learns here whether a key is good, or for what.
        P.NO_KEY: Row(
            401,
            "Unauthorized: this address wants a user's API key (`openv keys create`) as Authorization; a key of "
            "workers does not open it.",
        ),
        P.NO_WORKER_KEY: Row(
            401,
            "Unauthorized: this address wants a key of this endpoint's workers (`openv endpoints key`) as "
            "Authorization; a user's API key does not open it, nor does a key of another endpoint.",
        ),
        P.FORBIDDEN_ORIGIN: Row(403, "This page may not act with your session."),
        P.RESTRICTED: Row(403, "This action requires user role", "message"),
        P.ADMIN_ONLY: Row(403, "This action requires admin role", "message"),
        P.SCOPE: Row(
            403, "This key is not for that; make one with the scope that is named here.", code="scope_missing"
        ),
        P.TERMS: Row(
            403, "The terms of use have to be accepted first: POST /api/terms/accept.", code="terms_not_accepted"
        ),
        P.TERMS_CHANGED: Row(409, "The terms have changed since; read and accept those of now.", code="terms_changed"),
        P.VOUCHER_REQUIRED: Row(400, "Voucher code is required", "message"),
        P.VOUCHER_CODE: Row(
            400, "A voucher code has 1 to 64 letters, digits and . _ -, and begins with a letter or digit", "message"
        ),
        P.VOUCHER_TAKEN: Row(409, "This voucher code is taken; choose another", "message"),
        P.VOUCHER_INVALID: Row(400, "Invalid voucher code", "message"),
        P.VOUCHER_INACTIVE: Row(400, "Voucher is inactive", "message"),
        P.VOUCHER_EXPIRED: Row(400, "Voucher has expired", "message"),
        P.VOUCHER_USED: Row(400, FAILURES[FailureCode.VOUCHER_USED].text, "message"),
        P.NO_VOUCHER: Row(404, "There is no such voucher", "message"),
        P.INVALID: Row(400, "Validation failed"),
        P.NOT_JSON: Row(400, "The body is not JSON."),
        P.BAD_QUERY: Row(400, "The query is not valid."),
        P.BAD_KEY: Row(400, "Idempotency-Key must be 1 to 255 visible ASCII characters."),
        P.TOO_LARGE: Row(413, "The body is too large."),
        P.BAD_BODY: Row(400, "Invalid request body"),
        P.BAD_FORM: Row(400, "The form can't be read."),
        P.UNSUPPORTED: Row(400, "OpenV does not do this."),
        P.NO_MODEL: Row(404, "There is no such model; GET /v1/models lists those that are.", code="model_not_found"),
        P.NO_ENDPOINT: Row(404, "There is no such endpoint."),
        P.NO_JOB: Row(404, "There is no such job on this endpoint."),
        P.RESULT_GONE: Row(
            404,
            "This job has ended, and its result is no longer kept. For how long it is kept is the operator's to say: "
            "`openv endpoints update ENDPOINT --result-minutes`.",
        ),
        P.TOO_NESTED: Row(413, "The body holds too many lists, objects and values."),
        P.NO_ROOM: Row(
            503,
            "Too many large bodies are under way at once; try again soon. How many may be is the operator's to say: "
            "OPENV_SERVERLESS_BODY_BYTES.",
            retry_after=5,
        ),
        P.QUEUE_FULL: Row(
            429,
            "You have as many jobs under way as you may have; wait until some have ended.",
            retry_after=5,
        ),
        P.TOO_MANY_WAIT: Row(
            429,
            "Too many of your requests wait for jobs here; ask /status instead. How many may wait is the operator's to "
            "say: OPENV_SERVERLESS_WAITS_PER_USER.",
            retry_after=5,
        ),
        P.NOT_RETRYABLE: Row(400, "Only a job that failed or timed out can be tried again."),
        P.KEY_OF_DELETED: Row(410, "This Idempotency-Key belongs to a job that was deleted; use a new one."),
        P.BAD_JOB_IDS: Row(400, "Invalid jobIds"),
        P.QUOTA: Row(403, "Monthly limit exceeded"),
        P.CONCURRENCY: Row(409, FAILURES[FailureCode.CONCURRENCY_EXCEEDED].text),
        P.RATE: Row(429, FAILURES[FailureCode.RATE_LIMITED].text, retry_after=1),
        P.SOCKETS: Row(429, "Too many live connections; close some, or come back later.", retry_after=5),
        P.CREDITS: Row(403, FAILURES[FailureCode.CREDITS_EXCEEDED].text),
        P.BLOCKED: Row(403, FAILURES[FailureCode.ACCOUNT_BLOCKED].text),
        P.KEY_REUSED: Row(422, FAILURES[FailureCode.KEY_REUSED].text),
        P.REFUSED: Row(400, "The request was refused."),
        P.NOT_FOUND: Row(404, "Video not found"),
        P.NO_WEBHOOK: Row(404, "Webhook not found"),
        P.NO_DELIVERY: Row(404, "Delivery not found"),
        P.WEBHOOKS_FULL: Row(409, "You have as many webhooks as one account may have; delete one first."),
        P.WEBHOOK_DISABLED: Row(409, "This webhook is disabled; enable it first."),
        P.BEING_SENT: Row(409, "This delivery is being sent at this moment; its outcome is in the log soon."),
        P.NO_ROUTE: Row(404, "There is nothing at this address."),
        P.NO_METHOD: Row(405, "This address does not take that method."),
        P.FINISHED: Row(409, "This video has already ended; there is nothing to cancel."),
        P.NOT_FINISHED: Row(409, "Only a video that failed, timed out or was cancelled can be tried again."),
        P.NOT_READY: Row(409, "This video is not finished."),
        P.DELETED: Row(410, "This Idempotency-Key belongs to a video that was deleted; use a new one."),
        P.UNAVAILABLE: Row(503, "A server that this needs does not answer; try again soon.", retry_after=2),
        P.STORE_UNKNOWN: Row(
            503, "This file lies in a store that is not configured here; tell the operator to set S3_FALLBACK_…"
        ),
        P.NOT_RECORDED: Row(
            503, "The request could not be recorded; repeat it with the same Idempotency-Key.", retry_after=2
        ),
        P.DAMAGED: Row(
            500,
            "Something that is stored of this can't be read; repeating the request does not help. Tell the operator: "
            "`openv doctor` names it, and what mends it.",
            code="damaged_document",
        ),
        P.INTERNAL: Row(500, "Something went wrong here; the request id names it in the log."),
    }
)

PROBLEM_OF: Mapping[FailureCode, Problem] = MappingProxyType(
    {
        FailureCode.QUOTA_EXCEEDED: P.QUOTA,
        FailureCode.CONCURRENCY_EXCEEDED: P.CONCURRENCY,
        FailureCode.RATE_LIMITED: P.RATE,
        FailureCode.CREDITS_EXCEEDED: P.CREDITS,
        FailureCode.ACCOUNT_BLOCKED: P.BLOCKED,
        FailureCode.KEY_REUSED: P.KEY_REUSED,
        FailureCode.VOUCHER_USED: P.VOUCHER_USED,
        FailureCode.TOO_LATE: P.NOT_RECORDED,
    }
)


class Refused(Exception):
    """A request ends here. ``members`` join the body; ``words`` replace the table's; ``retry_after`` in seconds."""

    def __init__(
        self, problem: Problem, *, words: str | None = None, retry_after: int | None = None, **members: Any
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.words = words
        self.retry_after = retry_after
        self.members = members


@dataclass(frozen=True, slots=True)
class Told:
    """What a client is told of a refusal: the status, the body, and headers beside those that all have."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def told(refused: Refused) -> Told:
    """A refusal in OpenV's form."""
    row = PROBLEMS[refused.problem]
    body = {row.member: refused.words or row.words, **({"code": row.code} if row.code else {}), **refused.members}
    return Told(row.status, body)


def answer(refused: Refused, form: Callable[[Refused], Told] = told) -> Response:
    """The response of a refusal, in the form of one of our APIs."""
    said = form(refused)
    headers = {"Cache-Control": "no-store", **said.headers}
    retry_after = refused.retry_after or PROBLEMS[refused.problem].retry_after
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if said.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(said.body, status_code=said.status, headers=headers)
