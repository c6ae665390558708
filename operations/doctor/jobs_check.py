"""Jobs that should have moved on by themselves, and accounts that hold an admission which was never completed."""

from operations.core.findings import Finding, Mends, first, ok, problem
from operations.doctor.surroundings import PAGE, Surroundings
from schemas.accounts import Account
from schemas.jobs import Job
from schemas.lifecycle import State

CHECK = "jobs"
SLACK_MS = 120_000  # the scheduler looks every minute
SETTLED_MS = 60_000


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    jobs = around.desk.database.jobs
    active = [job for pool in await jobs.active_pools() for job in await jobs.active_jobs(pool)]
    stuck = [job.job_id for job in active if is_stuck(job, around.now())]
    found: list[Finding] = []
    if stuck:
        what = f"{len(stuck)} jobs are past their time and go on: {first(stuck)}"
        why = "the scheduler should have ended them; it does not run, or is far behind"
        found.append(problem(CHECK, what, why, "openv streams --role scheduler", targets=stuck[:PAGE]))
    users, looked_at, cut = await _unsettled(around)
    if users:
        what = f"{len(users)} accounts hold admissions that were never completed: {first(users)}"
        why = "a ledger died in the middle; the job is charged and nobody makes it, until the user asks for something"
        mend = "openv doctor --repair --only jobs"
        found.append(problem(CHECK, what, why, mend, repair=Mends.PENDING, targets=users))
    words = f"{len(active)} under way, none stuck; {looked_at} accounts{' (no more were looked at)' if cut else ''}"
    return found or [ok(CHECK, words)]


def is_stuck(job: Job, now: int) -> bool:
    """Whether its run, or the attempt that is under way, is over by its own terms, and nobody ended it."""
    if job.expires_at + SLACK_MS < now and job.state is State.QUEUED:
        return True
    started = job.started_at if job.state is State.PROCESSING else None
    return started is not None and started + job.execution_timeout_ms + SLACK_MS < now


async def _unsettled(around: Surroundings) -> tuple[list[str], int, bool]:
    """Users, how many accounts were looked at, and whether there are more."""
    users: list[str] = []
    after: str | None = None
    looked_at = 0
    while looked_at < around.most:
        page = await around.desk.database.jobs.accounts(after=after, limit=PAGE)
        users += [one.user_id for one in page if await _is_unsettled(around, one)]
        looked_at += len(page)
        if len(page) < PAGE:
            return users, looked_at, False
        after = page[-1].user_id
    return users, looked_at, True


async def _is_unsettled(around: Surroundings, account: Account) -> bool:
    """Whether a job that it holds is not stored as it says, and was admitted a while ago."""
    old = {one.job_id: one for one in account.pending.values() if one.updated_at + SETTLED_MS < around.now()}
    if not old:
        return False
    stored = await around.desk.database.upkeep.known_jobs(old)
    versions = {job_id: job.version for job_id, job in stored.items() if job is not None}
    damaged = {job_id for job_id, job in stored.items() if job is None}
    return any(versions.get(one, 0) < held.version for one, held in old.items() if one not in damaged)
