"""Workers: at least one that works, in every pool where a job waits."""

from collections.abc import Sequence

from operations.core.counting import several
from operations.core.findings import Finding, age, ok, problem
from operations.doctor.surroundings import Surroundings
from operations.workers.roster import Pool, pools

CHECK = "workers"
WAITED_MS = 60_000  # a worker may just start


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    there = await pools(around.desk)
    here = [f"process {name}" for name in around.stack.get("parts", {}) if name.startswith("worker")]
    found = [one for pool in there for one in judged(pool, around.now(), here)]
    working = sum(pool.idle + pool.busy for pool in there)
    waiting = several(sum(pool.waiting for pool in there), "job waits", "jobs wait")
    return found or [ok(CHECK, f"{working} at work or ready, {waiting}")]


def judged(pool: Pool, now: int, here: Sequence[str] = ()) -> list[Finding]:
    """One queue. ``here``: what findings call the local stack's workers."""
    if pool.oldest_at is None or pool.idle + pool.busy or now - pool.oldest_at < WAITED_MS:
        return []
    others = ", ".join(
        f"{count} {words}"
        for count, words in ((pool.starting, "starting"), (pool.draining, "ending"), (pool.silent, "silent"))
        if count
    )
    waiting, them = several(pool.waiting, "job waits", "jobs wait"), "it" if pool.waiting == 1 else "them"
    what = f"{waiting} in pool {pool.pool}, and no worker takes {them}{f' ({others})' if others else ''}"
    why = f"the first for {age(now - pool.oldest_at)}; they end with their ttl (docs/runbooks/NoWorkerForQueuedJobs.md)"
    after = [*here, "process streams", "runner scheduler", "role scheduler"]
    return [problem(CHECK, what, why, f"OPENV_POOL={pool.pool} openv worker", after=after)]
