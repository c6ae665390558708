"""From the ledger's answer to an HTTP response: one place for every route that sends a command."""

import math
from typing import Any

import orjson
from starlette.responses import JSONResponse, Response

from gateway.core.allowance import Allowance
from gateway.decisions import NotRecorded
from gateway.errors import PROBLEM_OF, Problem, Refused
from gateway.parts import Parts
from repo.ports import Unavailable
from schemas.api.openv import monthly_quota
from schemas.commands import AnyCommand
from schemas.documents import job_document
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FAILURES, FailureCode
from schemas.jobs import Remaining
from schemas.lifecycle import State
from schemas.requests import FPS
from schemas.shape import to_plain


def shed(allowance: Allowance, user_id: str, now: int) -> None:
    """Count a request that would reach the log. Raises ``Refused`` where a user sends them in floods."""
    wait_ms = allowance.take(user_id, now)
    if wait_ms:
        raise Refused(Problem.RATE, retry_after=math.ceil(wait_ms / 1000))


async def ask(parts: Parts, command: AnyCommand, job_id: str, append_by: int | None = None) -> CommandAnswered | None:
    """Send a command and wait for its answer; None: not decided yet. Raises ``Refused``."""
    try:
        answer = await parts.decisions.ask(command, append_by=append_by)
    except NotRecorded:
        raise Refused(Problem.NOT_RECORDED, jobId=job_id) from None
    if answer is not None and answer.outcome is Outcome.NOT_FOUND:
        raise Refused(Problem.NOT_FOUND)
    if answer is not None and answer.outcome is Outcome.REFUSED:
        raise refusal(answer, job_id)
    return answer


def refusal(answer: CommandAnswered, job_id: str) -> Refused:
    """What a refused submission or retry is told, with OpenV's members."""
    code, remaining = answer.code, answer.remaining
    problem = PROBLEM_OF.get(code, Problem.REFUSED) if code is not None else Problem.REFUSED
    members: dict[str, Any] = {"jobId": job_id}
    words: str | None = None
    retry_after: int | None = None
    if problem is Problem.REFUSED and code is not None:
        words = FAILURES[code].text
    if remaining is not None:
        members["monthlyQuota"] = to_plain(monthly_quota(remaining))
        if code is FailureCode.QUOTA_EXCEEDED:
            members["message"] = quota_words(remaining)
            members["suggestedFrames"] = remaining.suggested_frames
        elif code is FailureCode.CONCURRENCY_EXCEEDED:
            members["count"] = remaining.active
            words = (
                f"{remaining.active} of your videos are being made; at most {remaining.max_active} may be at a time."
            )
        elif code is FailureCode.CREDITS_EXCEEDED:
            members["credits"] = remaining.credits
        if remaining.retry_after_ms is not None:
            retry_after = max(1, math.ceil(remaining.retry_after_ms / 1000))
    return Refused(problem, words=words, retry_after=retry_after, **members)


def quota_words(remaining: Remaining) -> str:
    """OpenV's sentence, with the longest video that would still fit."""
    words = f"You have {max(0.0, remaining.remaining_seconds):.2f} seconds remaining in this period."
    if remaining.suggested_frames:
        frames = remaining.suggested_frames
        words += f" Try {frames} frames ({frames / FPS:.2f} seconds) or fewer."
    return words


async def decided(parts: Parts, answer: CommandAnswered | None, job_id: str) -> Response:
    """200 with the row as it is now, or 202 with what is known: the socket brings the rest."""
    if answer is None:
        return JSONResponse({"jobId": job_id, "status": "queued"}, status_code=202)
    document = _announced(parts, answer, job_id)
    if document is None:
        try:
            job = await parts.store.job(job_id)
        except Unavailable:
            job = None
        if job is None:
            return JSONResponse({"jobId": job_id, "status": "queued"}, status_code=202)
        document = job_document(job)
    if document["state"] == State.DELETED:
        raise Refused(Problem.DELETED)
    if answer.remaining is not None:
        document["count"] = answer.remaining.active
        document["monthlyQuota"] = to_plain(monthly_quota(answer.remaining))
    return JSONResponse(document)


def _announced(parts: Parts, answer: CommandAnswered, job_id: str) -> dict[str, Any] | None:
    """The document as this gateway heard it before the answer; None where it has not. Spares MongoDB a read."""
    feed = parts.feed
    heard = feed.window.newest(answer.user_id, feed.partition_of(answer.user_id), job_id)
    if heard is None or answer.version is None or heard.version < answer.version:
        return None
    document: dict[str, Any] = orjson.loads(heard.value)
    return document
