"""Workers: at least one that works, in every pool where a job waits."""

from operations.core.findings import Finding, age, ok, problem
from operations.doctor.surroundings import Surroundings
from operations.workers.roster import Pool, pools

CHECK = "workers"
WAITED_MS = 60_000  # a worker may just start


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    there = await pools(around.desk)
    found = [one for pool in there for one in judged(pool, around.now())]
    working = sum(pool.idle + pool.busy for pool in there)
    return found or [ok(CHECK, f"{working} at work or ready, {sum(pool.waiting for pool in there)} jobs wait")]


def judged(pool: Pool, now: int) -> list[Finding]:
    """One queue."""
    if pool.oldest_at is None or pool.idle + pool.busy or now - pool.oldest_at < WAITED_MS:
        return []
    others = ", ".join(
        f"{count} {words}"
        for count, words in ((pool.starting, "starting"), (pool.draining, "ending"), (pool.silent, "silent"))
        if count
    )
    what = f"{pool.waiting} jobs wait in pool {pool.pool}, and no worker takes them{f' ({others})' if others else ''}"
    why = f"the first for {age(now - pool.oldest_at)}; they end with their ttl"
    return [problem(CHECK, what, why, f"OPENV_POOL={pool.pool} openv worker")]
