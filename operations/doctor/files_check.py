"""Objects that belong to nothing any more, and completed jobs whose files are gone. Reads a bucket as a stream, up to a
bound, and says where it stopped."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from operations.core.findings import Finding, Level, Mends, first, note, ok, problem
from operations.core.strays import Found, Stray, job_of, judge, looks_lost, missing_files
from operations.doctor.surroundings import PAGE, Surroundings
from schemas.jobs import Job

CHECK = "files"
TARGETS_MOST = 20_000  # that one repair deletes


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    found: list[Finding] = []
    for name, _ in around.stores.each():
        found += await _strays(around, name)
    found += await _missing(around)
    return found


async def _strays(around: Surroundings, name: str | None) -> list[Finding]:
    listed, whole = await around.listing(name)
    made_at = await around.mongo.made_at()
    strays: defaultdict[Stray, list[Found]] = defaultdict(list)
    for start in range(0, len(listed), PAGE):
        page = listed[start : start + PAGE]
        jobs = await _jobs_of(around, page)
        for one in page:
            kind = judge(one, jobs, around.now(), around.older_than_ms, made_at)
            if kind is not None:
                strays[kind].append(one)
    words = f"{name or 'main'}: {len(listed)} objects{'' if whole else ' looked at, there are more'}"
    found = judged(words, strays, len(listed), name)
    return found if any(one.level is Level.PROBLEM for one in found) else [ok(CHECK, f"{words}, all in use"), *found]


def judged(words: str, strays: Mapping[Stray, list[Found]], looked_at: int, store: str | None) -> list[Finding]:
    """What the strays of a store come to."""
    found: list[Finding] = []
    for kind in (Stray.OF_DELETED, Stray.OF_ATTEMPTS, Stray.OF_NO_JOB, Stray.OF_BEFORE, Stray.OF_PROBES):
        of_kind = strays.get(kind, [])
        if not of_kind:
            continue
        size = sum(one.bytes for one in of_kind) / 1e6
        what = f"{words}; {len(of_kind)} {kind} ({size:.1f} MB): {first(one.key for one in of_kind)}"
        if kind in (Stray.OF_NO_JOB, Stray.OF_BEFORE) and looks_lost(len(of_kind), looked_at):
            why = "so many that it is the database which lacks them: nothing is deleted here"
            found.append(problem(CHECK, what, why, "openv rebuild --verify"))
            continue
        if kind is Stray.OF_BEFORE:
            why = "a backup may still have their jobs, so they are left alone"
            found.append(note(CHECK, what, why, "openv restore --merge FILE; openv rebuild"))
            continue
        keys = [one.key for one in of_kind[:TARGETS_MOST]]
        mend = "openv doctor --repair --only files"
        why = "nobody sees them; they cost room"
        found.append(
            problem(CHECK, what, why, mend, repair=Mends.FILES, targets=[f"{store or ''}:{key}" for key in keys])
        )
    if foreign := strays.get(Stray.FOREIGN):
        what = f"{len(foreign)} objects are none that OpenV names: {first(one.key for one in foreign)}"
        found.append(note(CHECK, what, "they are left alone"))
    return found


async def _jobs_of(around: Surroundings, page: list[Found]) -> Mapping[str, Job | None]:
    ids = {job_id for one in page if (job_id := job_of(one)) is not None}
    return await around.desk.database.upkeep.known_jobs(ids)


async def _missing(around: Surroundings) -> list[Finding]:
    """Of the stores that were listed to their end: what came since is of jobs that were not completed then."""
    there = {name: frozenset(one.key for one in listed) for name, (listed, whole) in around.listings.items() if whole}
    lacking: list[str] = []
    after: str | None = ""
    counts: Counter[str] = Counter()
    while after is not None and counts["jobs"] < around.most:
        page = await around.desk.database.upkeep.jobs_after(after, PAGE)
        settled = [job for job in page.jobs if job.updated_at < around.now() - around.older_than_ms]
        lacking += missing_files(settled, there)
        counts.update(jobs=len(page.jobs), damaged=len(page.damaged))
        after = page.last
    found: list[Finding] = []
    if lacking:
        what = f"{len(lacking)} completed jobs show files that are gone: {first(lacking)}"
        mend = f"openv jobs show {lacking[0]}"
        found.append(problem(CHECK, what, "their owners get an error for a video", mend))
    if counts["damaged"]:
        what = f"{counts['damaged']} job documents can't be read"
        found.append(problem(CHECK, what, "their commands become dead letters", "openv rebuild --verify"))
    return found
