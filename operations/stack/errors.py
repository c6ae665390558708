"""The one exception of the embedded stack that a person is meant to read."""

import re

_COMPLAINT = re.compile(r"error|exception|fatal", re.IGNORECASE)


class StackError(Exception):
    """What happened and what to do about it, in a sentence or two. The command line prints it without a traceback."""


def sentence_in(failures: BaseExceptionGroup[BaseException]) -> StackError | None:
    """The first ``StackError`` of a task group's failures, None where all of them are something else."""
    for failure in failures.exceptions:
        found = sentence_in(failure) if isinstance(failure, BaseExceptionGroup) else failure
        if isinstance(found, StackError):
            return found
    return None


def last_words(text: str, limit: int = 300) -> str:
    """The last line of a program's output that complains, or else its last line; at most ``limit`` characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [line for line in lines if _COMPLAINT.search(line)]
    said = (complaints or lines or ["it printed nothing"])[-1]
    return said[:limit]
