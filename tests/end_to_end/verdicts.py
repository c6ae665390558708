"""What must be true of a stack at rest, told from the log, the documents and the files alone."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from repo.core.object_keys import user_prefix
from repo.kafka import KafkaEventLog
from schemas.codec import Unreadable, decode
from schemas.documents import job_document
from schemas.events import JobEvent
from schemas.jobs import ChargeState, Job
from schemas.lifecycle import ACTIVE, TRANSITIONS, State
from schemas.topics import EVENTS
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.people import Heard, Watcher

ROUNDED = 0.005 + 1e-9  # seconds: the API tells usage in hundredths


@dataclass(frozen=True)
class Logged:
    """A job event where it lies in ``openv.events``."""

    offset: int
    job: Job


async def events_of(log: KafkaEventLog) -> dict[str, list[Logged]]:
    """All job events of the whole topic by user, in the order of the log."""
    found: dict[str, list[Logged]] = defaultdict(list)
    starts, ends = await log.starts(EVENTS.name), await log.ends(EVENTS.name)
    for partition, end in ends.items():
        for record in await log.read(EVENTS.name, partition, starts[partition], end):
            message = decode(record)
            assert not isinstance(message, Unreadable), message
            if isinstance(message, JobEvent):
                found[message.job.user_id].append(Logged(record.offset, message.job))
    return found


def news(events: list[Logged], begin: int = -1, versions: dict[str, int] | None = None) -> list[Logged]:
    """The events after an offset, each version once: what a reader that drops repeats takes in."""
    known = dict(versions or {})
    taken = []
    for event in events:
        if event.offset > begin and event.job.version > known.get(event.job.job_id, 0):
            known[event.job.job_id] = event.job.version
            taken.append(event)
    return taken


def histories(events: list[Logged]) -> dict[str, list[Job]]:
    """Each job's documents, version by version. An announcement of one version must always be the same."""
    found: dict[str, dict[int, Job]] = defaultdict(dict)
    for event in events:
        known = found[event.job.job_id].setdefault(event.job.version, event.job)
        assert known == event.job, (known, event.job)
    return {job_id: [jobs[version] for version in sorted(jobs)] for job_id, jobs in found.items()}


def check_history(history: list[Job], document: Job | None) -> None:
    """Every version was announced, every step is in the table, each run ended once, and the document is the last."""
    assert [job.version for job in history] == list(range(1, len(history) + 1)), history
    assert history[0].state is State.QUEUED, history
    for before, after in pairwise(history):
        assert after.state in TRANSITIONS[before.state].values(), (before, after)
        assert after.attempt >= before.attempt, (before, after)
    ends = [job.state for job in history if job.state not in ACTIVE and job.state is not State.DELETED]
    assert len(ends) <= 1, history
    assert ends or history[-1].state is State.DELETED, history
    assert {job.run for job in history} == {1}, history
    assert document == history[-1], (document, history[-1])
    delivered = State.COMPLETED in ends
    charge, request = history[-1].charge, history[0].request
    assert charge.state is (ChargeState.CAPTURED if delivered else ChargeState.REFUNDED), history
    assert charge.seconds == request.num_frames / request.fps, history


def used_seconds(jobs_of_user: dict[str, list[Job]]) -> float:
    """What the user's videos cost: the length of each that was delivered, whatever the charges say."""
    delivered = [history[0] for history in jobs_of_user.values() if State.COMPLETED in {job.state for job in history}]
    return sum(job.request.num_frames / job.request.fps for job in delivered)


def check_socket(watcher: Watcher, events: list[Logged]) -> None:
    """From each snapshot on, exactly the log's events in the log's order; to the end for the last one."""
    assert watcher.epochs, watcher.user_id
    for number, epoch in enumerate(watcher.epochs, 1):
        expected = [(event.offset, _plain(event.job)) for event in news(events, epoch.begin, epoch.versions)]
        if number < len(watcher.epochs):
            expected = expected[: len(epoch.events)]
        missed, added = _but(expected, epoch.events), _but(epoch.events, expected)
        assert not missed, f"{watcher.user_id} did not hear {missed} after {epoch.begin}"
        assert not added, f"{watcher.user_id} heard {added} after {epoch.begin}, which is not in the log"
        assert epoch.events == expected, f"{watcher.user_id} heard the log's events in another order or twice"


def _plain(job: Job) -> dict[str, Any]:
    plain: dict[str, Any] = orjson.loads(orjson.dumps(job_document(job)))
    return plain


def _but(these: Heard, those: Heard) -> list[tuple[int, str, int]]:
    """Offset, job and version of what is in the first alone; whole documents are compared."""
    return [(offset, job["jobId"], job["version"]) for offset, job in these if (offset, job) not in those]


async def stray_files(fleet: Fleet, user_id: str, documents: list[Job]) -> set[str]:
    """Keys under the user's name that no document shows. Every file that one shows is there, byte by byte."""
    shown = set()
    for job in documents:
        if job.state is State.COMPLETED:
            assert job.output is not None
            for stored in (job.output.video, job.output.poster, job.output.thumbnail):
                assert stored is not None
                content = await fleet.objects.read(stored.key)
                assert content is not None, stored.key
                assert (len(content), hashlib.sha256(content).hexdigest()) == (stored.bytes, stored.sha256), stored
                shown.add(stored.key)
    return set(await fleet.objects.list_keys(user_prefix(user_id))) - shown
