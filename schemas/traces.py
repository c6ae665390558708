"""One trace a job: its ids follow from the job's id, so that any process, also one that starts after a crash, goes on
with the same trace. How a trace travels is W3C Trace Context: ``traceparent: 00-<trace>-<span>-<flags>``.
"""

import re
from hashlib import blake2b
from typing import NamedTuple

HEADER = "traceparent"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


class Parent(NamedTuple):
    """What a ``traceparent`` says: hexadecimal ids, and whether its sender keeps the trace."""

    trace_id: str
    span_id: str
    sampled: bool


def trace_id_of(job_id: str) -> str:
    """The trace of a job: 32 hexadecimal digits, evenly spread, so that sampling by trace id is fair."""
    return _digest(job_id)[:32]


def root_span_of(job_id: str) -> str:
    """The span of the job's whole life, 16 hexadecimal digits: the parent of whoever knows no nearer one."""
    return _digest(job_id)[32:]


def parent_of(traceparent: str | None) -> Parent | None:
    """What the header says, or None where it is missing or not as the standard wants it."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    if traceparent is not None and traceparent.startswith("00") and match[4]:
        return None
    return Parent(match[1], match[2], bool(int(match[3], 16) & _SAMPLED))


def _digest(job_id: str) -> str:
    digest = blake2b(job_id.encode(errors="replace"), digest_size=24, person=b"openv trace").hexdigest()
    # The standard forbids ids of zeros alone.
    return digest if int(digest[:32], 16) and int(digest[32:], 16) else f"{digest[:31]}1{digest[33:]}1"
