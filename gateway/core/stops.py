"""Jobs that workers must stop, kept until a worker's stop poll takes them. Every gateway keeps them, because any may
be the one that the worker asks; a worker that is told twice stops nothing twice."""

from gateway.core.recent import Recent

PODS_MAX = 10_000
JOBS_MAX = 256  # of one worker
KEPT_MS = 120_000

Pod = tuple[str, str]  # endpoint and pod id


class Stops:
    """One a process."""

    def __init__(self) -> None:
        self._pods: Recent[Pod, Recent[str, int]] = Recent(PODS_MAX)

    def add(self, pod: Pod, job_id: str, now: int) -> None:
        """This worker must stop that job."""
        jobs = self._pods.get(pod) or Recent(JOBS_MAX)
        jobs[job_id] = now
        self._pods[pod] = jobs

    def drop(self, pod: Pod, job_id: str) -> None:
        """It need not: the job is over there, or was given to it anew."""
        jobs = self._pods.get(pod)
        if jobs is not None:
            jobs.pop(job_id, None)

    def take(self, pod: Pod, now: int) -> list[str]:
        """All that wait, oldest first; they are told now."""
        jobs = self._pods.pop(pod, None) or Recent[str, int](0)
        return [job_id for job_id, since in jobs.items() if now - since < KEPT_MS]
