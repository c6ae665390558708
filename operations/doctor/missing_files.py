"""Completed jobs whose files are gone: their documents against the listing of the stores, both read as streams.

The stores were listed before the documents are read, so a file that the listing lacks may have come since; and a job
may have been deleted since, document first, then its files. So what looks gone is looked at once more, in the order in
which neither can deceive: the file, then the document.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from operations.core.findings import Finding, first, problem
from operations.core.strays import LOST_SHARE, Keys, missing_files, shows
from operations.doctor.surroundings import PAGE, Surroundings
from schemas.jobs import Job
from streams.core.shown_files import Place

AGAIN_MOST = 1_000  # jobs that are looked at once more; of all others it is said that they were not
AT_ONCE = 16
NAMED = 20  # jobs, in the command
MANY = 3


@dataclass(slots=True)
class Seen:
    """Of the documents: how many jobs show files and look as if some were gone, the first of these with those files;
    how many name a store that is not configured here, and how many can't be read."""

    showing: int = 0
    lacking: int = 0
    suspects: dict[str, list[Place]] = field(default_factory=dict)
    elsewhere: int = 0
    first_elsewhere: list[str] = field(default_factory=list)
    damaged: int = 0

    def add(self, job: Job, there: Mapping[str | None, Keys]) -> None:
        """One more document."""
        places = shows(job)
        self.showing += bool(places)
        if any(store not in there for store, _ in places):
            self.elsewhere += 1
            self.first_elsewhere = [*self.first_elsewhere, job.job_id][:NAMED]
        lacking = missing_files(job, there)
        self.lacking += bool(lacking)
        if lacking and len(self.suspects) < AGAIN_MOST:
            self.suspects[job.job_id] = lacking


async def check(name: str, around: Surroundings, there: Mapping[str | None, Keys]) -> list[Finding]:
    """``there``: what was listed of each store. Raises ``Unavailable``."""
    seen, after = Seen(), ""
    looked_at, goes_on = 0, True
    while goes_on and looked_at < around.most:
        page = await around.desk.database.upkeep.jobs_after(after, PAGE)
        for job in page.jobs:
            seen.add(job, there)
        seen.damaged += len(page.damaged)
        looked_at += len(page.jobs) + len(page.damaged)
        goes_on, after = page.last is not None, page.last or ""
    gone = await _gone(around, seen.suspects)
    return judged(name, gone, seen)


async def _gone(around: Surroundings, suspects: Mapping[str, Sequence[Place]]) -> list[str]:
    """Those of which a file is not there, and which show it all the same."""
    gone: list[str] = []
    ids = list(suspects)
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        absent = await asyncio.gather(*(_absent(around, suspects[job_id]) for job_id in some))
        known = await around.desk.database.upkeep.known_jobs(some)
        for job_id, places in zip(some, absent, strict=True):
            job = known.get(job_id)
            if job is not None and not shows(job).isdisjoint(places):
                gone.append(job_id)
    return gone


async def _absent(around: Surroundings, places: Sequence[Place]) -> list[Place]:
    absent: list[Place] = []
    for name, key in places:
        store = around.stores.named(name)
        if store is not None and key not in await store.list_keys(key):
            absent.append((name, key))
    return absent


def judged(name: str, gone: Sequence[str], seen: Seen) -> list[Finding]:
    """What it comes to. Where so many are gone, it is the bucket which lacks them, and no job is to be deleted."""
    found: list[Finding] = []
    unsure = seen.lacking - len(seen.suspects)
    if gone:
        more = f", and {unsure} more that were not looked at again" if unsure else ""
        what = f"{len(gone)} completed jobs show files that are gone{more}: {first(gone)}"
        if len(gone) + unsure > max(MANY, seen.showing * LOST_SHARE):
            why = "so many that it is the bucket which lacks them: bring its copy back, and delete nothing"
            mend = "aws --endpoint-url $S3_ENDPOINT_URL s3 sync COPY s3://$S3_BUCKET"
            found.append(problem(name, what, why, mend, targets=gone))
        else:
            why = (
                "their owners get an error for a video, and no video is made twice: bring the files back from versions "
                "or copies of the bucket, under their keys (`openv jobs show` names them); what is nowhere, delete"
            )
            found.append(problem(name, what, why, f"openv jobs delete {' '.join(gone[:NAMED])}", targets=gone))
    if seen.elsewhere:
        named = first(seen.first_elsewhere, of=seen.elsewhere)
        what = f"{seen.elsewhere} completed jobs show files of a store that is not named here: {named}"
        why = "who lacks S3_FALLBACK_* can't show and not delete them; gateway, streams and workers need the same"
        found.append(problem(name, what, why, "export S3_FALLBACK_ENDPOINT_URL=…"))
    if seen.damaged:
        what = f"{seen.damaged} job documents can't be read"
        found.append(problem(name, what, "their commands become dead letters", "openv rebuild"))
    return found
