"""Consumer groups and applied offsets: who reads, how far behind, and whether anything was lost on the way."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from operations.core.findings import Finding, Level, age, ok, problem
from operations.core.readers import READERS, behind
from operations.doctor.surroundings import Surroundings
from repo.kafka_inspection import Group, KafkaInspection
from repo.ports import EventLog

CHECK = "groups"
LATE_MS = 60_000
APART_S = 3.0  # two looks: many times as long as a role keeps what it applied to itself
LOOKED_AT = 50  # offsets that are read to find a record
ROLES = ("ledger", "scheduler", "janitor", "notifier")
LOCAL = ("process streams",)
ALL = "streams"
SOFT = ("scheduler",)  # rebuilt from the documents: what it never saw is no loss


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one reader, by partition: the last applied offset, the first kept, the next; and the oldest record's age (ms)
    that is not applied, where there is one. ``group`` None: it has no consumer group. ``late``: the partitions whose
    oldest record waits for ``LATE_MS`` or longer; ``still``: those of them in which a second look found nothing more
    applied."""

    name: str
    topic: str
    applied: Mapping[int, int]
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    oldest_ms: int | None
    group: Group | None
    late: tuple[int, ...] = ()
    still: tuple[int, ...] = ()


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    standings: list[Standing] = []
    async with KafkaInspection(around.servers) as kafka:
        for name, topic in READERS.items():
            group = await kafka.group(f"openv-{name}") if name in ROLES else None
            standings.append(await _standing(around, name, topic, group))
    restart = around.restart("streams")
    found = [finding for one in await _looked_again(around, standings) for finding in judged(one, restart)]
    found = [*_other_database(standings), *found]
    return together(found, restart if around.stack else "openv streams")


def together(found: Sequence[Finding], start: str) -> list[Finding]:
    """Roles of which none runs are one problem: all of them run in each process that is told no role."""
    absent = [one for one in found if one.level is Level.PROBLEM and one.about in map(_absent, ROLES)]
    if len(absent) < len(ROLES):
        return list(found)
    why = "what users ask and workers report is not decided until one runs (docs/runbooks/RoleMissing.md)"
    what = f"no streams run: the groups of {', '.join(ROLES)} have no members"
    follow = [replace(one, after=(*one.after, ALL)) for one in found if one not in absent]
    return [problem(CHECK, what, why, start, about=ALL, after=LOCAL), *follow]


def _other_database(standings: Sequence[Standing]) -> list[Finding]:
    """Offsets are applied in the documents first, and then stored in the group: never the other way round."""
    lacking = [one.name for one in standings if one.group and any(at > 0 for at in one.group.committed.values())]
    lacking = [one.name for one in standings if one.name in lacking and not one.applied]
    if not lacking:
        return []
    what = f"MongoDB knows nothing of what was applied, and Kafka does ({', '.join(lacking)}): it is another database"
    why = "users, keys and videos are not in it; openv rebuild is the second step (docs/recovery.md)"
    return [problem(CHECK, what, why, "openv restore FILE", about="database", after=["server mongodb"])]


async def _looked_again(around: Surroundings, standings: list[Standing]) -> list[Standing]:
    """At those that are late although their process is in the group: it may live, and do nothing."""
    if not any(_is_suspect(one) for one in standings):
        return standings
    await asyncio.sleep(APART_S)
    return [await _again(around, one) if _is_suspect(one) else one for one in standings]


def _is_suspect(at: Standing) -> bool:
    return bool(at.late and at.group and at.group.members)


async def _again(around: Surroundings, at: Standing) -> Standing:
    now = await around.desk.database.jobs.applied_offsets(at.name)
    return replace(at, still=tuple(number for number in at.late if now.get(number) == at.applied.get(number)))


async def _standing(around: Surroundings, name: str, topic: str, group: Group | None) -> Standing:
    log = around.desk.log
    applied = await around.desk.database.jobs.applied_offsets(name)
    starts, ends = await log.starts(topic), await log.ends(topic)
    waiting = {at: max(applied.get(at, -1) + 1, starts[at]) for at, lag in behind(applied, starts, ends).items() if lag}
    now = around.now()
    ages = {
        at: now - time
        for at, offset in waiting.items()
        if (time := await _time_of(log, topic, at, offset, ends[at])) is not None
    }
    late = tuple(at for at, waits in ages.items() if waits >= LATE_MS)
    return Standing(name, topic, applied, starts, ends, max(ages.values(), default=None), group, late)


async def _time_of(log: EventLog, topic: str, partition: int, offset: int, end: int) -> int | None:
    """Of the first record from there on; the first offsets may be a transaction's marks."""
    records = await log.read(topic, partition, offset, min(offset + LOOKED_AT, end))
    return records[0].timestamp if records else None


def judged(at: Standing, restart: str) -> list[Finding]:
    """What its standing says. ``restart``: the command that starts a streams process anew."""
    waiting = {number: lag for number, lag in behind(at.applied, at.starts, at.ends).items() if lag}
    found = [*_lost(at), *_members(at, sum(waiting.values()), restart)]
    if at.still and at.oldest_ms is not None:
        what = (
            f"{at.name} stands still: {sum(waiting[number] for number in at.still)} records of {at.topic} wait in "
            f"partitions {list(at.still)}, the oldest for {age(at.oldest_ms)}, and none was applied in {APART_S:g} s"
        )
        why = (
            "its process is in the group and does nothing there: what users ask and workers report is not decided "
            "(docs/runbooks/CommitStalled.md)"
        )
        found.append(problem(CHECK, what, why, restart, about=f"role {at.name}", after=_after(at.name)))
    elif waiting and at.oldest_ms is not None and at.oldest_ms >= LATE_MS:
        worst, most = max(waiting.items(), key=lambda one: one[1])
        what = (
            f"{at.name} is behind: {sum(waiting.values())} records of {at.topic} are not applied, "
            f"{most} of them in partition {worst}; the oldest waits for {age(at.oldest_ms)}"
        )
        why = "what users ask and workers report is not decided meanwhile (docs/runbooks/StreamLag.md)"
        mend = f"openv streams --role {_role(at.name)}"
        found.append(problem(CHECK, what, why, mend, about=f"role {at.name}", after=_after(at.name)))
    return found or [ok(CHECK, f"{at.name}: {sum(waiting.values())} records to go{_of_members(at)}")]


def _members(at: Standing, waiting: int, restart: str) -> list[Finding]:
    if at.group is None or at.group.members or not (waiting or at.applied or at.group.committed):
        return []
    why = "nothing on its topic is worked on until one runs (docs/runbooks/RoleMissing.md)"
    what = f"no {at.name} runs: group {at.group.name} has no members"
    mend = restart if restart.startswith("kill") else f"openv streams --role {at.name}"
    return [problem(CHECK, what, why, mend, about=_absent(at.name), after=LOCAL)]


def _absent(role: str) -> str:
    """The thing that has the problem that nobody runs it."""
    return f"runner {role}"


def _after(name: str) -> tuple[str, ...]:
    """What explains that a reader is behind."""
    return (_absent(_role(name)), *LOCAL, "database", *(() if name in ROLES else (f"role {_role(name)}",)))


def _lost(at: Standing) -> list[Finding]:
    """Records that went before they were applied."""
    if at.name in SOFT or at.name.startswith("inspector "):
        return []
    gone = {n: at.starts[n] - (applied + 1) for n, applied in at.applied.items() if applied + 1 < at.starts.get(n, 0)}
    if not gone:
        return []
    what = (
        f"{sum(gone.values())} records of {at.topic} went before the {at.name} applied them: partitions {sorted(gone)}"
    )
    why = "what they said was never done; it ran too late for the topic's retention"
    return [problem(CHECK, what, why, "openv rebuild --verify")]


def _of_members(at: Standing) -> str:
    return f", {at.group.members} in group {at.group.name}" if at.group else ""


def _role(name: str) -> str:
    return name if name in ROLES else "janitor"
