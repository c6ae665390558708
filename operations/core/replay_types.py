"""Which types of records are meant: the same words mean the same to replays and to dead letters."""

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache

NO_TYPE = "(no type)"  # as lists have it
_WILD = frozenset("*?[")


def is_of_type(patterns: Iterable[str], name: str | None) -> bool:
    """Whether one of these is meant: a part of the name suffices; with ``*`` and ``?`` it is as file names are matched,
    and the end suffices. ``(no type)`` is a record that has none. Large and small letters are the same."""
    if not name:
        return NO_TYPE in patterns
    return any(_compiled(one).match(name) is not None for one in patterns)


@lru_cache(maxsize=1_000)
def _compiled(pattern: str) -> "re.Pattern[str]":
    if not set(pattern) & _WILD:
        return re.compile(f".*{re.escape(pattern)}", re.IGNORECASE | re.DOTALL)
    ends = pattern if pattern.startswith(("dev.openv.", "*")) else f"*{pattern}"
    return re.compile(fnmatch.translate(ends), re.IGNORECASE)
