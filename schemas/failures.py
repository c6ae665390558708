"""Failure codes of attempts and jobs: retryable or terminal, and the words a person reads.

An engine that only has a text (a remote worker, RunPod) is classified by ``code_of_text``: OpenV's retryable words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class FailureCode(StrEnum):
    WORKER_LOST = "worker_lost"
    WORKER_CRASHED = "worker_crashed"
    OUT_OF_MEMORY = "out_of_memory"
    ENGINE_ERROR = "engine_error"
    HANDLER_ERROR = "handler_error"
    TRANSIENT_ERROR = "transient_error"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    INVALID_INPUT = "invalid_input"
    MODEL_UNAVAILABLE = "model_unavailable"
    TTL_EXPIRED = "ttl_expired"
    EXECUTION_TIMEOUT = "execution_timeout"
    CANCELLED = "cancelled"
    QUOTA_EXCEEDED = "quota_exceeded"
    CONCURRENCY_EXCEEDED = "concurrency_exceeded"
    RATE_LIMITED = "rate_limited"
    CREDITS_EXCEEDED = "credits_exceeded"
    ACCOUNT_BLOCKED = "account_blocked"
    TOO_LATE = "too_late"
    KEY_REUSED = "key_reused"
    VOUCHER_USED = "voucher_used"


@dataclass(frozen=True, slots=True)
class Words:
    """What a code means: whether another try may help, and the sentence for a person."""

    retryable: bool
    text: str


C = FailureCode
FAILURES: Mapping[FailureCode, Words] = MappingProxyType(
    {
        C.WORKER_LOST: Words(True, "The worker stopped answering before this was finished."),
        C.WORKER_CRASHED: Words(True, "The model's process ended while it made this video."),
        C.OUT_OF_MEMORY: Words(False, "The GPU has too little memory for this size and length; ask for fewer frames."),
        C.ENGINE_ERROR: Words(False, "The model failed on this request."),
        C.HANDLER_ERROR: Words(False, "The worker's handler failed; its own words are in the job's output."),
        C.TRANSIENT_ERROR: Words(True, "The model's server failed for a moment."),
        C.STORAGE_UNAVAILABLE: Words(True, "The video was made but could not be stored."),
        C.INVALID_INPUT: Words(False, "The model cannot run this request."),
        C.MODEL_UNAVAILABLE: Words(True, "The worker could not load the model."),
        C.TTL_EXPIRED: Words(False, "The request came to the end of its ttl, which counts from its submission."),
        C.EXECUTION_TIMEOUT: Words(False, "This took longer than it may take."),
        C.CANCELLED: Words(False, "Cancelled."),
        C.QUOTA_EXCEEDED: Words(False, "Monthly limit exceeded"),
        C.CONCURRENCY_EXCEEDED: Words(False, "Too many videos are being made for you already."),
        C.RATE_LIMITED: Words(False, "Too many requests in a short time."),
        C.CREDITS_EXCEEDED: Words(False, "Insufficient credits."),
        C.ACCOUNT_BLOCKED: Words(False, "This account may not make videos."),
        C.TOO_LATE: Words(False, "The request was recorded after its sender had been told to try again."),
        C.VOUCHER_USED: Words(False, "You have already used this voucher code"),
        C.KEY_REUSED: Words(False, "This Idempotency-Key was used for another request."),
    }
)

# OpenV's words, any case; an error text that contains one is worth another try.
RETRYABLE_WORDS = ("timeout", "connection failed", "server error", "internal error", "503", "500")


def code_of_text(text: str) -> FailureCode:
    """Classify an engine's free-form error text by OpenV's retryable words."""
    lowered = text.lower()
    return C.TRANSIENT_ERROR if any(word in lowered for word in RETRYABLE_WORDS) else C.ENGINE_ERROR
