"""Whether a failed attempt is tried again, and when."""

from hashlib import blake2b

from schemas.failures import FAILURES, FailureCode, code_of_text
from schemas.jobs import Job
from streams.core.policy import Policy

DOUBLINGS_MAX = 32  # keeps the power small; the cap has long been reached


def classified(code: FailureCode, message: str) -> FailureCode:
    """The code that decides: an engine that could only give a text is judged by OpenV's retryable words."""
    return code_of_text(message) if code is FailureCode.ENGINE_ERROR else code


def tried_again(job: Job, code: FailureCode) -> bool:
    """Whether the failure is worth another try and the job has one left. The first try is no retry."""
    return FAILURES[code].retryable and job.tries <= job.max_retries


def backoff_ms(policy: Policy, job: Job) -> int:
    """How long after this attempt's failure the next one is due: exponential in tries, capped, half of it jitter.

    The jitter is drawn from job id and attempt, so the same log makes the same documents.
    """
    steps = min(max(job.tries - 1, 0), DOUBLINGS_MAX)
    ceiling = min(policy.backoff_max_ms, policy.backoff_base_ms * int(policy.backoff_factor**steps))
    drawn = int.from_bytes(blake2b(f"{job.job_id}:{job.attempt}".encode(), digest_size=8).digest())
    return ceiling - (ceiling // 2 * drawn >> 64)
