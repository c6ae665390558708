"""From the ledger's answer to an HTTP response: one place for every route that sends a command."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import JSONResponse, Response

from gateway.core.allowance import Allowance
from gateway.decisions import NotRecorded
from gateway.errors import PROBLEM_OF, Problem, Refused
from gateway.http.rows import placed
from gateway.parts import Parts
from repo.ports import Position, Unavailable
from schemas.api.openv import monthly_quota
from schemas.commands import AnyCommand
from schemas.documents import job_document
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FAILURES, FailureCode
from schemas.jobs import Remaining
from schemas.lifecycle import State
from schemas.shape import to_plain


def shed(allowance: Allowance, user_id: str, now: int, words: str | None = None) -> None:
    """Count a request that would reach the log. Raises ``Refused``, in these words, where a user floods it."""
    wait_ms = allowance.take(user_id, now)
    if wait_ms:
        raise Refused(Problem.RATE, words=words, retry_after=math.ceil(wait_ms / 1000))


async def ask(
    parts: Parts,
    command: AnyCommand,
    job_id: str,
    append_by: int | None = None,
    recorded: Callable[[Position], None] = lambda _: None,
) -> CommandAnswered | None:
    """Send a command and wait for its answer; None: not decided yet, and ``recorded`` was told where it lies.

    Raises ``Refused``, with OpenV's members.
    """
    words = Words(
        not_recorded=Refused(Problem.NOT_RECORDED, jobId=job_id),
        not_found=Refused(Problem.NOT_FOUND),
        refused=lambda answer: refusal(answer, job_id),
    )
    return await ask_in(words, parts, command, append_by, recorded)


SET_ASIDE = (
    "Something that is stored of yours can't be read, so this could not be decided; repeating it does not help. It is "
    "set aside, and may be carried out when the operator has mended that: `openv doctor` names it."
)


@dataclass(frozen=True, slots=True)
class Words:
    """How an API says the ledger's no."""

    not_recorded: Refused
    not_found: Refused
    refused: Callable[[CommandAnswered], Refused]


async def ask_in(
    words: Words,
    parts: Parts,
    command: AnyCommand,
    append_by: int | None = None,
    recorded: Callable[[Position], None] = lambda _: None,
) -> CommandAnswered | None:
    """As ``ask``, for every API. Raises ``Refused``, in these words."""
    try:
        answer = await parts.decisions.ask(command, append_by=append_by, recorded=recorded)
    except NotRecorded:
        raise words.not_recorded from None
    if answer is not None and answer.outcome is Outcome.NOT_FOUND:
        raise words.not_found
    raise_if_set_aside(answer)
    if answer is not None and answer.outcome is Outcome.REFUSED:
        raise words.refused(answer)
    return answer


def raise_if_set_aside(answer: CommandAnswered | None) -> None:
    """Raises ``Refused`` where the ledger could not read what it needs: sent again by the operator, it is decided."""
    if answer is not None and answer.outcome is Outcome.SET_ASIDE:
        raise Refused(Problem.DAMAGED, words=SET_ASIDE)


def wait_s(remaining: Remaining | None) -> int | None:
    """After how long it is worth asking again, in whole seconds."""
    wait_ms = remaining.retry_after_ms if remaining is not None else None
    return None if wait_ms is None else max(1, math.ceil(wait_ms / 1000))


def refusal(answer: CommandAnswered, job_id: str) -> Refused:
    """What a refused submission or retry is told, with OpenV's members."""
    code, remaining = answer.code, answer.remaining
    problem = PROBLEM_OF.get(code, Problem.REFUSED) if code is not None else Problem.REFUSED
    members: dict[str, Any] = {"jobId": job_id}
    words: str | None = None
    if problem is Problem.REFUSED and code is not None:
        words = FAILURES[code].text
    if remaining is not None:
        members["monthlyQuota"] = to_plain(monthly_quota(remaining))
        if code is FailureCode.QUOTA_EXCEEDED:
            left = max(0.0, remaining.remaining_seconds)
            members["message"] = f"You have {left:.2f} seconds remaining in your monthly quota"
            members["suggestedFrames"] = remaining.suggested_frames
        elif code is FailureCode.CONCURRENCY_EXCEEDED:
            members["count"] = remaining.active
            words = (
                f"You have reached the maximum limit of {remaining.max_active} concurrent jobs. "
                "Please wait for your other videos to finish processing."
            )
        elif code is FailureCode.CREDITS_EXCEEDED:
            members["credits"] = remaining.credits
    return Refused(problem, words=words, retry_after=wait_s(remaining), **members)


async def decided(
    parts: Parts, answer: CommandAnswered | None, job_id: str, host: str, expected: dict[str, Any] | None = None
) -> Response:
    """200 with the row as it is now, or 202 with what is known: the row that is ``expected``, or the job's id alone.

    ``host``: see ``rows.host_for``.

    The socket brings the rest.
    """
    document = _announced(parts, answer, job_id) if answer else None
    if document is None:
        document = await _stored(parts, job_id)
    if document is not None and document["state"] == State.DELETED:
        raise Refused(Problem.DELETED)
    if answer is None or document is None:
        waiting = document or expected or {"jobId": job_id, "status": "queued"}
        return JSONResponse(placed(waiting, host), status_code=202)
    if answer.remaining is not None:
        document["count"] = answer.remaining.active
        document["monthlyQuota"] = to_plain(monthly_quota(answer.remaining))
    return JSONResponse(placed(document, host))


async def _stored(parts: Parts, job_id: str) -> dict[str, Any] | None:
    try:
        job = await parts.store.job(job_id)
    except Unavailable:
        return None
    return job_document(job) if job else None


def _announced(parts: Parts, answer: CommandAnswered, job_id: str) -> dict[str, Any] | None:
    """The document as this gateway heard it before the answer; None where it has not. Spares MongoDB a read."""
    feed = parts.feed
    heard = feed.window.newest(answer.user_id, feed.partition_of(answer.user_id), job_id)
    if heard is None or answer.version is None or heard.version < answer.version:
        return None
    document: dict[str, Any] = orjson.loads(heard.value)
    return document
