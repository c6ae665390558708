"""Jobs that should have moved on by themselves, and accounts that hold an admission which was never completed."""

from collections.abc import Sequence

from operations.core.counting import several
from operations.core.findings import Finding, Mends, first, ok, problem
from operations.doctor.surroundings import PAGE, Surroundings
from schemas.accounts import Account
from schemas.jobs import Job
from schemas.lifecycle import State

CHECK = "jobs"
SLACK_MS = 120_000  # the scheduler looks every minute
SETTLED_MS = 60_000
NAMED = 20  # jobs, in the command
STREAMS = ("process streams", "runner ledger", "runner scheduler", "role ledger", "role scheduler")


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    jobs = around.desk.database.jobs
    active = [job for pool in await jobs.active_pools() for job in await jobs.active_jobs(pool)]
    stuck = [job.job_id for job in active if is_stuck(job, around.now())]
    found: list[Finding] = []
    if stuck:
        go_on = several(len(stuck), "job is past its time and goes on", "jobs are past their time and go on")
        what = f"{go_on}: {first(stuck)}"
        why = "the scheduler should have ended them; what it holds for them is given back when they are cancelled"
        mend = f"openv jobs cancel {' '.join(stuck[:NAMED])}"
        found.append(problem(CHECK, what, why, mend, targets=stuck[:PAGE], after=STREAMS))
    users, damaged, looked_at, cut = await _unsettled(around)
    if damaged:
        found.append(told_of_damaged(damaged))
    if users:
        hold = several(len(users), "account holds", "accounts hold")
        what = f"{hold} admissions that were never completed: {first(users)}"
        why = "a ledger died in the middle; the job is charged and nobody makes it, until the user asks for something"
        mend = "openv doctor --repair --only jobs"
        found.append(problem(CHECK, what, why, mend, repair=Mends.PENDING, targets=users, after=STREAMS))
    accounts = several(looked_at, "account")
    words = f"{len(active)} under way, none stuck; {accounts}{' (no more were looked at)' if cut else ''}"
    return found or [ok(CHECK, words)]


def told_of_damaged(users: Sequence[str]) -> Finding:
    """Accounts that nobody can read."""
    why = (
        "all commands of these users become dead letters; openv rebuild puts an account as it was last announced, and "
        f"where no event tells of one: openv users reset {users[0]}"
    )
    return problem(
        CHECK, f"{len(users)} damaged in accounts: {first(users)}", why, "openv rebuild", targets=users[:PAGE]
    )


def is_stuck(job: Job, now: int) -> bool:
    """Whether its run, or the attempt that is under way, is over by its own terms, and nobody ended it."""
    if job.expires_at + SLACK_MS < now and job.state is State.QUEUED:
        return True
    started = job.started_at if job.state is State.PROCESSING else None
    return started is not None and started + job.execution_timeout_ms + SLACK_MS < now


async def _unsettled(around: Surroundings) -> tuple[list[str], list[str], int, bool]:
    """Users, those whose account can't be read, how many accounts were looked at, and whether there are more."""
    users: list[str] = []
    damaged: list[str] = []
    after: str | None = None
    looked_at = 0
    while looked_at < around.most:
        page = await around.desk.database.jobs.accounts(after=after, limit=PAGE)
        users += [one.user_id for one in page.accounts if await _is_unsettled(around, one)]
        damaged += page.damaged
        looked_at += len(page.accounts) + len(page.damaged)
        if page.last is None:
            return users, damaged, looked_at, False
        after = page.last
    return users, damaged, looked_at, True


async def _is_unsettled(around: Surroundings, account: Account) -> bool:
    """Whether a job that it holds is not stored as it says, and was admitted a while ago."""
    old = {one.job_id: one for one in account.pending.values() if one.updated_at + SETTLED_MS < around.now()}
    if not old:
        return False
    stored = await around.desk.database.upkeep.known_jobs(old)
    versions = {job_id: job.version for job_id, job in stored.items() if job is not None}
    damaged = {job_id for job_id, job in stored.items() if job is None}
    return any(versions.get(one, 0) < held.version for one, held in old.items() if one not in damaged)
