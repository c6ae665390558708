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
_DIGITS_MAX = 18
_UNKNOWN = 10**_DIGITS_MAX  # higher than any that is known


@dataclass(frozen=True, slots=True)
class Announced:
    """A document as an event told it."""

    collection: str
    document_id: str
    version: int
    value: Job | Account


@dataclass(frozen=True, slots=True)
class Stretch:
    """What some records told: the newest of each document, how many events that was, how many of those that were looked
    at could not be read."""

    newest: tuple[Announced, ...]
    events: int
    unreadable: int


def newest(records: Iterable[Record]) -> Stretch:
    """Of each job and account the highest version; other events say nothing of documents.

    Which one that is, the records' headers tell, so that the others need not be read; where they tell nothing, or what
    they tell of can't be read, all are.
    """
    by_document: dict[tuple[str, str], list[tuple[int, Record]]] = {}
    found: dict[tuple[str, str], Announced] = {}
    events = unreadable = 0
    for record in records:
        if record.header("ce_type") in COLLECTION_OF:
            events += 1
            name, version = _named(record)
            by_document.setdefault(name, []).append((version, record))
    for name, of_one in by_document.items():
        of_one.sort(key=_version, reverse=True)
        for version, record in of_one:
            told = announced(record)
            if told is None:
                unreadable += 1
                continue
            key = (told.collection, told.document_id)
            if key not in found or found[key].version < told.version:
                found[key] = told
            if (key, told.version) == (name, version):
                break
    return Stretch(tuple(found.values()), events, unreadable)


def _named(record: Record) -> tuple[tuple[str, str], int]:
    """The document and its version, as the record's id has them; one that has none is looked at first."""
    document_id, _, version = (record.header("ce_id") or "").rpartition(":")
    known = version.isascii() and version.isdecimal() and len(version) <= _DIGITS_MAX
    return (COLLECTION_OF[record.header("ce_type") or ""], document_id), int(version) if known else _UNKNOWN


def _version(one: tuple[int, Record]) -> int:
    return one[0]


def announced(record: Record) -> Announced | None:
    """None where the record can't be read, or tells of no document, or of a version that no ledger reaches."""
    message = decode(record)
    match message:
        case Unreadable():
            return None
        case JobEvent(job=job) if job.version < _UNKNOWN:
            return Announced(JOBS, job.job_id, job.version, job)
        case AccountEvent(account=account) if account.version < _UNKNOWN:
            return Announced(ACCOUNTS, account.user_id, account.version, account)
        case _:
            return None


def differing(told: Job | Account, stored: Job | Account) -> list[str]:
    """The paths of the members that differ, never their values. What an account has pending is not announced; and a job
    that was decided again, as the same version, was written later than it was announced at first."""
    if isinstance(told, Job) and isinstance(stored, Job):
        told = replace(told, updated_at=max(told.updated_at, stored.updated_at))
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
