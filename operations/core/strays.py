"""Which objects of the bucket belong to nothing any more. Pure: keys and documents in, a judgement out.

What is not understood is left alone: keys that are not of our form, objects under another user than their job's, jobs
whose documents can't be read.
"""

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from repo.core.object_keys import INPUTS, place_of
from repo.core.object_keys import Place as KeyPlace
from schemas.jobs import Job
from schemas.lifecycle import ACTIVE, State
from streams.core.forgetting import LEAST_MS
from streams.core.shown_files import Place, shown

# More of the objects than this belong to no job at all: it is the documents that are missing, not the jobs.
LOST_SHARE = 0.5
MADE_SLACK_MS = 60_000  # the object store's clock is another, and counts seconds
PROBES = "_openv/doctor/"  # no user's folder: ids begin with a letter or digit
FEW = 20
PILE_MOST = 20_000  # that one repair deletes


class Stray(StrEnum):
    FOREIGN = "foreign"  # not ours to judge
    OF_DELETED = "of deleted jobs"
    OF_ATTEMPTS = "of attempts that did not count"
    OF_NO_JOB = "of no job"
    OF_BEFORE = "of no job, from before this database was made or rebuilt"
    OF_PROBES = "left by a doctor that died"


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a store: its key, when it was written (ms), its size."""

    key: str
    at: int
    bytes: int


@dataclass(slots=True)
class Pile:
    """Strays of one kind: how many, how large, and the first of them."""

    count: int = 0
    bytes: int = 0
    first: list[Found] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """One more."""
        self.count += 1
        self.bytes += found.bytes
        if len(self.first) < PILE_MOST:
            self.first.append(found)


def job_of(found: Found) -> str | None:
    """The job that an object names."""
    place = place_of(found.key)
    return place.job_id if place else None


def judge(found: Found, jobs: Mapping[str, Job | None], now: int, older_than_ms: int, made_at: int = 0) -> Stray | None:
    """What kind of stray it is; None where it belongs, or is too young to tell.

    ``jobs``: those that there are, None for one that can't be read. An object of no job may be of one whose submission
    is still to be decided, or is set aside: it is one only when it is older than any record that may name it.
    ``made_at``: since when the database is what it is (ms). What is older than that may be of a job that a backup has
    and the database lacks.
    """
    place = place_of(found.key)
    if found.key.startswith(PROBES):
        return Stray.OF_PROBES if found.at <= now - older_than_ms else None
    if place is None:
        return Stray.FOREIGN
    if place.job_id not in jobs:
        if found.at > now - max(older_than_ms, LEAST_MS):
            return None
        return Stray.OF_BEFORE if found.at < made_at - MADE_SLACK_MS else Stray.OF_NO_JOB
    job = jobs[place.job_id]
    if job is None or job.user_id != place.user_id:
        return Stray.FOREIGN
    if found.at > now - older_than_ms or job.updated_at > now - older_than_ms or job.state in ACTIVE:
        return None
    if job.state is State.DELETED:
        return Stray.OF_DELETED
    return Stray.OF_ATTEMPTS if _is_unused(place, found.key, job) else None


def _is_unused(place: KeyPlace, key: str, job: Job) -> bool:
    """A file that an attempt stored and the document does not show. What a client gave stays as long as its job.

    Of whichever store: two may be one bucket by two names, and then the second copy of a video is the first.
    """
    return place.folder != INPUTS and key not in {shown_key for _, shown_key in shown(job.output)}


def looks_lost(of_no_job: int, looked_at: int) -> bool:
    """Whether so many objects name no job that the database is not the one that they were made with."""
    return of_no_job > FEW and of_no_job > looked_at * LOST_SHARE


class Keys:
    """Which keys of a store there are, as far as it was listed: eight bytes for each, so that millions have room.

    Two keys may share their mark (of a million, with a chance of one in 10 million): then one that is gone is not told.
    Never is one told that is there.
    """

    def __init__(self) -> None:
        self._marks = array("Q")
        self._last = ""
        self._whole = False

    def add(self, keys: Sequence[str]) -> None:
        """The next keys of the listing, in its order."""
        self._marks.extend(map(_mark, keys))
        self._last = keys[-1] if keys else self._last

    def close(self, *, whole: bool) -> None:
        """Nothing more comes; ``whole``: because there is nothing more. ``lacks`` may be asked from here on."""
        self._marks = array("Q", sorted(self._marks))
        self._whole = whole

    def lacks(self, key: str) -> bool:
        """Whether the listing passed the key by."""
        if not self._whole and key > self._last:  # by code points, which is the order of their bytes in UTF-8
            return False
        at = bisect_left(self._marks, mark := _mark(key))
        return at == len(self._marks) or self._marks[at] != mark


def _mark(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


def missing_files(job: Job, there: Mapping[str | None, Keys]) -> list[Place]:
    """The files that a completed job shows and a store's listing lacks. Which of them are gone a second look tells:
    they may have come, and the job may have been deleted, while the store was listed."""
    return [(store, key) for store, key in shows(job) if store in there and there[store].lacks(key)]


def shows(job: Job) -> frozenset[Place]:
    """The files that a job's owner can open."""
    return shown(job.output) if job.state is State.COMPLETED else frozenset()
