"""Every version of every document: what the core makes of it, as what it is announced, and what MongoDB holds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b

from schemas.accounts import Account
from schemas.documents import job_json
from schemas.jobs import Job
from schemas.shape import to_json
from streams.core.effects import Decision, UserView, WriteAccount, WriteJob


class Versions:
    """Keeps 16 bytes of each version. ``differences``: where they are not the same, in words."""

    def __init__(self, differences: list[str]) -> None:
        self._differences = differences
        self._jobs: defaultdict[str, list[bytes]] = defaultdict(list)
        self._accounts: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
        self._shown: dict[tuple[str, int], tuple[bytes, int]] = {}
        self._unmade: dict[tuple[str, int], str] = {}

    def made(self, decision: Decision) -> None:
        """The core decided this."""
        match decision.write:
            case WriteJob(job=job):
                self._make(job)
            case WriteAccount(account=account, job=job):
                self._accounts[account.user_id][account.version] = account_digest(account)
                if job is not None:
                    self._make(job)

    def shown(self, job: Job, where: str) -> None:
        """It was announced: the core's version, and the same, ``updated_at`` and all, however often."""
        known, shown = (job.job_id, job.version), (digest(job), job.updated_at)
        if self._shown.setdefault(known, shown) != shown:
            self._differences.append(f"{where}: {job.job_id} version {job.version} was announced differently before")
        made = self._jobs.get(job.job_id, [])
        if job.version > len(made):
            self._unmade.setdefault(known, where)
        elif made[job.version - 1] != shown[0]:
            self._differences.append(f"{where}: {job.job_id} version {job.version} is not the core's: {job}")

    def never_made(self) -> Iterator[str]:
        """Announced versions that the core does not make, once the whole log was read."""
        for (job_id, version), where in self._unmade.items():
            yield f"{where}: announces {job_id} version {version}, which the core does not make"

    def newest(self, view: UserView) -> dict[str, int]:
        """By job of the user: the version that the core has come to."""
        return {job_id: len(self._jobs[job_id]) for job_id in view.jobs}

    def check(
        self, view: UserView, jobs: Iterable[Job], account: Account | None, least: Mapping[str, int], *, at_rest: bool
    ) -> bool:
        """Compare what MongoDB holds of a user; ``view`` is the core's. ``least``: versions that it must have reached;
        ``at_rest``: exactly those that the core has come to. False if a document is ahead of what was read of the log.
        """
        found = {job.job_id: job for job in jobs}
        for job_id in view.jobs.keys() - found.keys():
            if at_rest or job_id in least:
                self._differences.append(f"{job_id}: no document; the core has version {len(self._jobs[job_id])}")
        ahead = [self._account_is_ahead(view.account, account, at_rest=at_rest)]
        ahead += [self._is_ahead(job, least, at_rest=at_rest) for job in found.values()]
        return not any(ahead)

    def _is_ahead(self, job: Job, least: Mapping[str, int], *, at_rest: bool) -> bool:
        made = self._jobs.get(job.job_id, [])
        if job.version > len(made):
            if at_rest:
                self._differences.append(f"{job.job_id}: MongoDB has version {job.version}, the core {len(made)}")
            return True
        if job.version < (len(made) if at_rest else least.get(job.job_id, 0)):
            self._differences.append(f"{job.job_id}: MongoDB has version {job.version}, the core {len(made)}")
        if digest(job) != made[job.version - 1]:
            self._differences.append(f"{job.job_id} version {job.version}: MongoDB's document is not the core's: {job}")
        shown = self._shown.get((job.job_id, job.version))
        if shown is not None and shown[1] != job.updated_at:
            self._differences.append(f"{job.job_id} version {job.version}: announced as of another time than stored")
        return False

    def _account_is_ahead(self, core: Account, stored: Account | None, *, at_rest: bool) -> bool:
        version = stored.version if stored is not None else 0
        if at_rest and version != core.version:
            self._differences.append(f"account {core.user_id}: MongoDB has version {version}, the core {core.version}")
        if version > core.version:
            return True
        if stored is not None and account_digest(stored) != self._accounts[core.user_id][version]:
            told = f"account {core.user_id} version {version}"
            self._differences.append(f"{told}: MongoDB's document is not the core's: {stored}")
        return False

    def _make(self, job: Job) -> None:
        versions = self._jobs[job.job_id]
        versions.append(digest(job))
        where = self._unmade.pop((job.job_id, job.version), None)
        if where is not None and self._shown[job.job_id, job.version][0] != versions[-1]:
            self._differences.append(f"{where}: {job.job_id} version {job.version} is not the core's")


def digest(job: Job) -> bytes:
    """A job document but for when it was written."""
    return blake2b(job_json(replace(job, updated_at=0)), digest_size=16).digest()


def account_digest(account: Account) -> bytes:
    """An account but for its copies of pending admissions."""
    return blake2b(to_json(replace(account, pending={})), digest_size=16).digest()
