"""What ``openv doctor --repair`` does: one audited action for each finding that says how it can be repaired.

Nothing is decided here: what goes was named by the findings. At a terminal a person has seen those; the admin API looks
afresh, and its answer lists what was done. Each file and document is looked at once more before it goes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from uuid import uuid4

from operations.audit.recording import Actor, audited
from operations.core.counting import several
from operations.core.findings import Finding, Mends
from operations.core.strays import Found, Stray, job_of, judge
from operations.doctor.surroundings import PAGE, Surroundings
from repo.ports import ObjectStore
from repo.s3 import S3ObjectStore
from repo.s3_inspection import S3Inspection
from repo.topic_admin import TopicAdmin
from schemas.commands import AskUsage
from schemas.events import Outcome
from schemas.lifecycle import State

_GO = (Stray.OF_DELETED, Stray.OF_ATTEMPTS, Stray.OF_NO_JOB, Stray.OF_PROBES)


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done about a finding, in words."""

    check: str
    words: str


Act = Callable[[Surroundings, Sequence[str]], Awaitable[str]]


async def repair(around: Surroundings, findings: Sequence[Finding], actor: Actor) -> list[Repaired]:
    """One after another. Raises ``Unavailable``, ``TopicError``; what was done by then stays done, and is audited."""
    done: list[Repaired] = []
    for finding in findings:
        if finding.repair is None:
            continue
        detail = {"finding": finding.what[:200], "targets": str(len(finding.targets))}
        target = finding.check
        async with audited(around.desk.log, actor, f"doctor.{finding.repair}", target=target, detail=detail) as action:
            words = await ACTS[finding.repair](around, finding.targets)
            action.detail["done"] = words
        done.append(Repaired(finding.check, words))
    return done


async def _topics(around: Surroundings, _targets: Sequence[str]) -> str:
    async with TopicAdmin(around.servers) as admin:
        lines = await admin.apply()
    changed = [line for line in lines if not line.endswith("as it should be")]
    return "; ".join(changed) or "nothing was left to change"


async def _indexes(around: Surroundings, _targets: Sequence[str]) -> str:
    await around.desk.database.prepare()
    return "all indexes are there"


async def _bucket(around: Surroundings, targets: Sequence[str]) -> str:
    for name in targets:
        store = around.stores.named(None if name == "main" else name)
        if store is not None:
            await store.prepare()
    return "the bucket is there"


async def _cors(around: Surroundings, targets: Sequence[str]) -> str:
    name, *origins = targets
    store = around.stores.named(None if name == "main" else name)
    if not isinstance(store, S3ObjectStore):
        return "nothing: there is no such store"
    await S3Inspection(store).allow(origins)
    return f"pages of {', '.join(origins)} may read"


async def _files(around: Surroundings, targets: Sequence[str]) -> str:
    gone = left = 0
    for start in range(0, len(targets), PAGE):
        by_store: dict[str | None, list[str]] = {}
        for target in targets[start : start + PAGE]:
            store, _, key = target.partition(":")
            by_store.setdefault(store or None, []).append(key)
        for name, found in by_store.items():
            store_of = around.stores.named(name)
            keys = [] if store_of is None else await _still_strays(around, store_of, found)
            if store_of is not None and keys:
                await store_of.delete(keys)
            gone, left = gone + len(keys), left + len(found) - len(keys)
    return f"{gone} objects deleted{f', {left} are in use by now' if left else ''}"


async def _still_strays(around: Surroundings, store: ObjectStore, keys: Sequence[str]) -> list[str]:
    """Judged afresh by all that is known now. What a client gave lies under its job's name alone: whoever asks for the
    same again has written it anew, and its job comes a moment later."""
    found = await _listed(store, sorted(keys))
    made_at = await around.mongo.made_at()
    ids = {job_id for one in found if (job_id := job_of(one)) is not None}
    jobs = await around.desk.database.upkeep.known_jobs(ids)
    return [one.key for one in found if judge(one, jobs, around.now(), around.older_than_ms, made_at) in _GO]


async def _listed(store: ObjectStore, keys: Sequence[str]) -> list[Found]:
    """Those of these, which are in order, that are there, as they are now."""
    wanted, found = set(keys), list[Found]()
    after = keys[0][:-1]  # sorts before it, and hardly anything lies between
    while True:
        page = await store.list_after(after, PAGE)
        found += [Found(one.key, one.modified_at, one.bytes) for one in page if one.key in wanted]
        if len(page) < PAGE or page[-1].key >= keys[-1]:
            return found
        after = page[-1].key


async def _documents(around: Surroundings, targets: Sequence[str]) -> str:
    known = await around.desk.database.upkeep.known_jobs(targets)
    gone = [
        job_id
        for job_id in targets
        if job_id not in known or ((job := known[job_id]) is not None and job.state is State.DELETED)
    ]
    for job_id in gone:
        await around.desk.database.endpoints.forget_chunks(job_id)
    return f"what {several(len(gone), 'job')} had streamed is deleted"


async def _pending(around: Surroundings, targets: Sequence[str]) -> str:
    """Asking where a user stands changes nothing, and makes the ledger complete what it finds."""
    answers = [await around.desk.ask(AskUsage(command_id=str(uuid4()), user_id=user)) for user in targets]
    silent = sum(answer is None or answer.outcome is Outcome.SET_ASIDE for answer in answers)
    return (
        f"{several(len(answers) - silent, 'account')} looked at by the ledger{f', {silent} not yet' if silent else ''}"
    )


ACTS: Mapping[Mends, Act] = MappingProxyType(
    {
        Mends.TOPICS: _topics,
        Mends.INDEXES: _indexes,
        Mends.BUCKET: _bucket,
        Mends.CORS: _cors,
        Mends.FILES: _files,
        Mends.DOCUMENTS: _documents,
        Mends.PENDING: _pending,
    }
)
