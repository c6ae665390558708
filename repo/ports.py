"""The ports. Each method states its promise; memory twins (``repo/memory.py``) keep the same ones.

All raise ``Unavailable`` when the server cannot be reached in time: the caller waits, retries or answers 503. It leaves
open whether a write happened, so every write may be repeated: a record may then be there twice, a document never.
Adapters are context managers: ``async with KafkaEventLog(settings, client_id=…) as log``; entering waits for no server.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from repo.core.documents import LeftOut
from schemas.accounts import Account, Role
from schemas.codec import Encoded, Record
from schemas.failures import FailureCode
from schemas.jobs import Job, StoredFile
from schemas.lifecycle import State


class Unavailable(Exception):
    """A server behind a port does not answer. ``server`` names it: ``kafka``, ``mongodb``, ``s3``, ``s3_fallback``."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"{server} does not answer: {reason}")
        self.server = server
        self.reason = reason


class OtherDatabase(Unavailable):
    """MongoDB answers, but with a database that must not be used: another one, or one that is being restored."""

    def __init__(self, reason: str) -> None:
        super().__init__("mongodb", reason)

    def __str__(self) -> str:
        return f"{self.server}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record lies in a topic. ``at``: the topic's own time of it in ms, where the broker told it."""

    partition: int
    offset: int
    at: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object of a bucket: its key, size in bytes, and when it was written (ms, by the server's clock)."""

    key: str
    bytes: int
    modified_at: int


class EventLog(Protocol):
    """Kafka. One producer a process, idempotent, acks=all."""

    async def append(self, message: Encoded, *, partition: int | None = None) -> Position:
        """Durable when it returns. Records of one key appended one after another keep their order.

        Raises ValueError for a record over ``RECORD_MAX`` or a topic or partition outside the table. After
        ``Unavailable`` or a cancellation the record may still land, before any that is appended later.
        """
        ...

    async def append_all(self, messages: Sequence[Encoded]) -> list[Position]:
        """All durable when it returns, in order within each key; sent concurrently."""
        ...

    async def ends(self, topic: str) -> dict[int, int]:
        """The next offset of every partition."""
        ...

    async def starts(self, topic: str) -> dict[int, int]:
        """The first offset still kept of every partition."""
        ...

    async def offsets_at(self, topic: str, timestamp: int) -> dict[int, int]:
        """The first offset at or after the time (ms) of every partition; the end where there is none."""
        ...

    def tail(self, topic: str, start: Mapping[int, int]) -> AsyncIterator[Sequence[Record]]:
        """Records of the named partitions from the given offsets on, for ever, in order within a partition.

        Yields batches, and an empty one at least every second, so that the caller can see that it is alive. Waits out
        a broker's absence; an offset that is no longer kept (or past the end: the topic was made anew) moves on to the
        first one that is. Close it (``contextlib.aclosing``) when you stop before its end, which never comes.
        """
        ...

    async def read(self, topic: str, partition: int, start: int, stop: int) -> list[Record]:
        """The records of ``start <= offset < stop`` that are still kept."""
        ...

    def partition_of(self, topic: str, key: bytes) -> int:
        """The partition that records with this key go to (murmur2, as Kafka's own clients)."""
        ...

    async def ping(self) -> None:
        """Raises ``Unavailable`` unless the broker answers and every topic of the table exists."""
        ...


@dataclass(frozen=True, slots=True)
class AccountPage:
    """``last``: the id to go on after; None where there are no more. ``damaged``: the ids of documents that can't be
    read, which were passed by."""

    accounts: tuple[Account, ...]
    last: str | None = None
    damaged: tuple[str, ...] = ()


class JobStore(Protocol):
    """MongoDB, the system of record. Writers of jobs and accounts: the ledger alone."""

    async def job(self, job_id: str) -> Job | None:
        """The newest version."""
        ...

    async def store_job(self, job: Job, expected: int) -> bool:
        """Compare-and-set: True if the stored version was ``expected`` (0: no document) and now is ``job``'s.

        Also True where this very document is stored already: the answer to the first try was lost. Raises ValueError
        unless ``job.version > expected``, and for a document that could not be read again (NaN).
        """
        ...

    async def settle_job(self, job: Job) -> bool:
        """Store unless the stored version is the same or newer (completes a pending admission; idempotent).

        True if the stored document now is this very one; False if another writer's stands there.
        """
        ...

    async def jobs_of(
        self,
        user_id: str,
        *,
        updated_since: int | None = None,
        states: Iterable[State] | None = None,
        before: tuple[int, str] | None = None,
        oldest_first: bool = False,
        external: bool | None = None,
        limit: int = 100,
        damaged: LeftOut | None = None,
    ) -> list[Job]:
        """A user's jobs, newest first by (created_at, job_id). ``updated_since`` is strictly less than ``updated_at``.

        ``before`` pages: only jobs that sort after this (created_at, job_id), in the order asked for. Any state unless
        ``states`` narrows it; ``external``: only those that external workers run, or only the others.

        A document that can't be read raises ``DamagedDocumentError``: who decides by a list must know all of it. Lists
        that are only shown give ``damaged``: it is told of each such document, maybe twice, and the next job takes its
        place, so that fewer than ``limit`` are all there are.
        """
        ...

    async def find_jobs(
        self,
        *,
        user_id: str | None = None,
        states: Iterable[State] | None = None,
        pool: str | None = None,
        endpoint_id: str | None = None,
        failed_with: FailureCode | None = None,
        created_since: int | None = None,
        before: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Anybody's jobs of which all that is given is true, for operators; newest first by (created_at, job_id).

        ``created_since`` in ms, ``before`` pages as in ``jobs_of``. Where no user is named, all jobs are looked at, the
        newest first, until there are enough. One whose document can't be read is left out, with a line in the log that
        names it, and the next takes its place: fewer than ``limit`` are all there are.
        """
        ...

    async def counted_jobs(self, user_id: str, charged_since: int, asked_since: int) -> list[Job]:
        """What the ledger's sums need: jobs that are active; whose newest run was admitted at or after ``asked_since``;
        or that are charged seconds or credits, of a newest run admitted at or after ``charged_since``.

        Oldest first by (created_at, job_id), as ``active_jobs``. There may be some among them that count for nothing.
        """
        ...

    async def last_change(self, user_id: str) -> int:
        """The newest ``updated_at`` of the user's jobs; 0 where there are none."""
        ...

    async def active_jobs(self, pool: str) -> list[Job]:
        """The queued and processing jobs of a pool."""
        ...

    async def active_pools(self) -> list[str]:
        """Pools with at least one queued or processing job."""
        ...

    async def endpoint_jobs(
        self, endpoint_id: str, states: Iterable[State], *, user_id: str | None = None, limit: int = 1_000
    ) -> list[Job]:
        """The jobs of a serverless endpoint in these states, oldest first; of one user where one is named."""
        ...

    async def ended_jobs(
        self, endpoint_id: str, states: Iterable[State], ended_by: int, *, external: bool, limit: int
    ) -> list[Job]:
        """The jobs of a serverless endpoint in these states that had ended by then (ms), those that ended first first.

        ``external``: those that external workers run, or the others. States are such as a job has at its end.
        """
        ...

    async def user_counts(self, user_id: str) -> Mapping[State, int]:
        """How many jobs of a user are in each state, what external workers run among them. States without any are left
        out."""
        ...

    async def endpoint_counts(self, endpoint_id: str, since: int) -> Mapping[State, int]:
        """How many jobs of a serverless endpoint are in each state: all that are active, and those that were created
        at or after ``since`` (ms). States without any are left out."""
        ...

    async def account(self, user_id: str) -> Account | None:
        """The newest version."""
        ...

    async def accounts(
        self,
        *,
        after: str | None = None,
        role: Role | None = None,
        blocked: bool | None = None,
        deleted: bool | None = None,
        limit: int = 100,
    ) -> AccountPage:
        """Stored accounts by user id, from the one after ``after`` on: all, or those of which all that is given is
        true. Who never submitted anything and was never changed has none."""
        ...

    async def store_account(self, account: Account, expected: int) -> bool:
        """Compare-and-set on ``version``, as ``store_job``."""
        ...

    async def applied_offsets(self, consumer: str) -> dict[int, int]:
        """The last applied offset of every partition of a consumer ("ledger", "scheduler", "janitor")."""
        ...

    async def store_applied_offsets(self, consumer: str, offsets: Mapping[int, int]) -> None:
        """By partition, in one write. None moves back; after ``Unavailable`` some may be stored and some not."""
        ...

    async def reset_applied_offset(self, consumer: str, partition: int) -> None:
        """Forget it (the topic was made anew)."""
        ...

    async def ping(self) -> None:
        """Raises ``Unavailable`` unless the server answers."""
        ...


class ObjectStore(Protocol):
    """One bucket of an S3 server. Keys come from ``repo/core/object_keys.py``."""

    async def prepare(self) -> None:
        """Make the bucket if it is not there."""
        ...

    async def put_file(self, key: str, path: Path, media_type: str) -> StoredFile:
        """Durable when it returns; the server compared the SHA-256. Raises OSError where the file can't be read."""
        ...

    async def put_bytes(self, key: str, data: bytes, media_type: str) -> StoredFile:
        """As ``put_file``; an object of that key is replaced whole."""
        ...

    async def read(self, key: str) -> bytes | None:
        """The whole object (small ones), or None."""
        ...

    async def signed_url(self, key: str, *, expires_s: int = 3600, filename: str | None = None) -> str:
        """A URL that anyone may follow until it expires; ``filename`` makes browsers save under that name."""
        ...

    async def list_keys(self, prefix: str) -> list[str]:
        """All keys under a prefix, in order."""
        ...

    async def list_after(self, after: str, limit: int) -> list[Listed]:
        """The next objects of the bucket by key, at most ``limit`` (1,000 at most): those after ``after`` ("": the
        first). Fewer than asked for: there are no more."""
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Gone when it returns; a key that does not exist is no error."""
        ...

    async def ping(self) -> None:
        """Raises ``Unavailable`` unless the server answers and the bucket exists."""
        ...
