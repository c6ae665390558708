"""Objects that belong to nothing any more. Reads a bucket as a stream, up to a bound, and says where it stopped."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from operations.core.findings import Finding, Level, Mends, first, note, ok, problem
from operations.core.strays import Found, Keys, Pile, Stray, job_of, judge, looks_lost
from operations.doctor import missing_files
from operations.doctor.surroundings import PAGE, Surroundings
from repo.ports import ObjectStore
from schemas.jobs import Job

CHECK = "files"


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    found: list[Finding] = []
    there: dict[str | None, Keys] = {}
    for name, store in around.stores.each():
        there[name], of_store = await _strays(around, name, store)
        found += of_store
    found += await missing_files.check(CHECK, around, there)
    return found


async def _strays(around: Surroundings, name: str | None, store: ObjectStore) -> tuple[Keys, list[Finding]]:
    keys, made_at = Keys(), await around.mongo.made_at()
    strays: defaultdict[Stray, Pile] = defaultdict(Pile)
    looked_at, last, whole = 0, "", False
    while not whole and looked_at < around.most:
        page = [Found(one.key, one.modified_at, one.bytes) for one in await store.list_after(last, PAGE)]
        jobs = await _jobs_of(around, page)
        for one in page:
            kind = judge(one, jobs, around.now(), around.older_than_ms, made_at)
            if kind is not None:
                strays[kind].add(one)
        keys.add([one.key for one in page])
        looked_at, last, whole = looked_at + len(page), page[-1].key if page else last, len(page) < PAGE
    keys.close(whole=whole)
    words = f"{name or 'main'}: {looked_at} objects{'' if whole else ' looked at, there may be more'}"
    found = judged(words, strays, looked_at, name)
    is_well = not any(one.level is Level.PROBLEM for one in found)
    return keys, [ok(CHECK, f"{words}, all in use"), *found] if is_well else found


def judged(words: str, strays: Mapping[Stray, Pile], looked_at: int, store: str | None) -> list[Finding]:
    """What the strays of a store come to."""
    found: list[Finding] = []
    for kind in (Stray.OF_DELETED, Stray.OF_ATTEMPTS, Stray.OF_NO_JOB, Stray.OF_BEFORE, Stray.OF_PROBES):
        pile = strays.get(kind)
        if pile is None:
            continue
        what = f"{words}; {pile.count} {kind} ({pile.bytes / 1e6:.1f} MB): {_first(pile)}"
        if kind in (Stray.OF_NO_JOB, Stray.OF_BEFORE) and looks_lost(pile.count, looked_at):
            why = "so many that it is the database which lacks them: nothing is deleted here"
            found.append(problem(CHECK, what, why, "openv rebuild --verify"))
            continue
        if kind is Stray.OF_BEFORE:
            why = "a backup may still have their jobs, so they are left alone"
            found.append(note(CHECK, what, why, "openv restore --merge FILE; openv rebuild"))
            continue
        keys = [one.key for one in pile.first]
        mend = "openv doctor --repair --only files"
        why = "nobody sees them; they cost room"
        found.append(
            problem(CHECK, what, why, mend, repair=Mends.FILES, targets=[f"{store or ''}:{key}" for key in keys])
        )
    if foreign := strays.get(Stray.FOREIGN):
        what = f"{foreign.count} objects are none that OpenV names: {_first(foreign)}"
        found.append(note(CHECK, what, "they are left alone"))
    return found


def _first(pile: Pile) -> str:
    return first((one.key for one in pile.first), of=pile.count)


async def _jobs_of(around: Surroundings, page: Sequence[Found]) -> Mapping[str, Job | None]:
    ids = {job_id for one in page if (job_id := job_of(one)) is not None}
    return await around.desk.database.upkeep.known_jobs(ids)
