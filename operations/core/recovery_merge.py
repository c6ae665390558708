"""The newest announced form of each document, out of a stretch of ``openv.events``; and how two forms differ. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from operations.core.recovery_table import ACCOUNTS, JOBS
from schemas.accounts import Account
from schemas.codec import Record, Unreadable, decode
from schemas.events import AccountEvent, JobEvent
from schemas.jobs import Job
from schemas.shape import to_stored

COLLECTION_OF: Mapping[str, str] = {
    **dict.fromkeys(JobEvent.TYPES, JOBS),
    **dict.fromkeys(AccountEvent.TYPES, ACCOUNTS),
}


@dataclass(frozen=True, slots=True)
class Announced:
    """A document as an event told it."""

    collection: str
    document_id: str
    version: int
    value: Job | Account


@dataclass(frozen=True, slots=True)
class Stretch:
    """What some records told: the newest of each document, how many events that was, how many could not be read."""

    newest: tuple[Announced, ...]
    events: int
    unreadable: int


def newest(records: Iterable[Record]) -> Stretch:
    """Of each job and account the highest version; other events say nothing of documents."""
    found: dict[tuple[str, str], Announced] = {}
    events = unreadable = 0
    for record in records:
        if record.header("ce_type") not in COLLECTION_OF:
            continue
        events += 1
        told = announced(record)
        if told is None:
            unreadable += 1
            continue
        key = (told.collection, told.document_id)
        if key not in found or found[key].version < told.version:
            found[key] = told
    return Stretch(tuple(found.values()), events, unreadable)


def announced(record: Record) -> Announced | None:
    """None where the record can't be read, or tells of no document."""
    message = decode(record)
    match message:
        case Unreadable():
            return None
        case JobEvent(job=job):
            return Announced(JOBS, job.job_id, job.version, job)
        case AccountEvent(account=account):
            return Announced(ACCOUNTS, account.user_id, account.version, account)
        case _:
            return None


def differing(told: Job | Account, stored: Job | Account) -> list[str]:
    """The paths of the members that differ, never their values. What an account has pending is not announced."""
    if isinstance(told, Account) and isinstance(stored, Account):
        told, stored = replace(told, pending={}), replace(stored, pending={})
    return list(_paths(to_stored(told), to_stored(stored), ""))


def _paths(one: Any, other: Any, at: str) -> Iterable[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        # Names that users chose (labels) are not shown.
        inside = "labels" if at == "labels" else None
        for name in sorted({*one, *other}):
            path = inside or (f"{at}.{name}" if at else name)
            yield from _paths(one.get(name), other.get(name), path)
    elif _lists(one, other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _paths(left, right, f"{at}.{number}")
    elif one != other:
        yield at


def _lists(one: Any, other: Any) -> bool:
    return isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other)
