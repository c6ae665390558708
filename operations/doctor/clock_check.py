"""This machine's clock against those of the servers. Kafka's is that of its newest record on ``openv.dispatch``, which
says at least how late it is there; nothing is written for it."""

import httpx

from operations.core.findings import Finding, age, ok, problem
from operations.core.strays import PROBES
from operations.doctor.surroundings import Surroundings
from repo.ports import Unavailable
from repo.s3 import S3ObjectStore
from repo.s3_inspection import S3Inspection
from schemas.topics import DISPATCH

CHECK = "clock"
MOST_MS = 3_000
MEND = "chronyc makestep"
WHY = "admissions are refused as too late or taken too long, leases and webhooks' tries overlap, signatures fail"


async def check(around: Surroundings) -> list[Finding]:
    """A server that is away tells no time; its own check says so."""
    offsets = {
        "MongoDB": await _mongo(around),
        "S3": await _s3(around),
        "Kafka": await _kafka(around),
    }
    found = [
        problem(CHECK, f"this clock is {age(abs(by))} {'ahead of' if by > 0 else 'behind'} {name}'s", WHY, MEND)
        for name, by in offsets.items()
        if by is not None and abs(by) > MOST_MS
    ]
    told = ", ".join(name for name, by in offsets.items() if by is not None)
    return found or [ok(CHECK, f"within {MOST_MS // 1000} s of {told or 'none that would tell'}")]


async def _mongo(around: Surroundings) -> int | None:
    before = around.now()
    try:
        server = await around.mongo.server()
    except Unavailable:
        return None
    return _ahead(before, around.now(), server.at)


async def _s3(around: Surroundings) -> int | None:
    store = around.stores.main
    if not isinstance(store, S3ObjectStore):
        return None
    before = around.now()
    try:
        answered = await S3Inspection(store).probe(PROBES, None)
    except (Unavailable, httpx.HTTPError):
        return None
    if answered.at is None:
        return None
    return _ahead(before, around.now(), answered.at, answered.at + 999)  # it tells whole seconds


async def _kafka(around: Surroundings) -> int | None:
    """How far behind the newest record this clock is; ahead of it any clock may be."""
    log = around.desk.log
    try:
        ends, starts = await log.ends(DISPATCH.name), await log.starts(DISPATCH.name)
        last = [
            record.timestamp
            for at, end in ends.items()
            if end > starts[at]
            for record in await log.read(DISPATCH.name, at, end - 1, end)
        ]
    except Unavailable:
        return None
    return min(0, around.now() - max(last)) if last else None


def _ahead(before: int, after: int, told: int, until: int | None = None) -> int:
    """How far this clock is ahead (ms; negative: behind) of one that said ``told`` to ``until`` in between; 0 where
    that may be the same time."""
    if after < told:
        return after - told
    return max(0, before - (told if until is None else until))
