"""What the checks make of what they are told, without servers."""

import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from operations.core.findings import Level, Mends, age, exit_code, first, note, ok, problem, worst
from operations.core.strays import FEW, MADE_SLACK_MS, PROBES, Found, Pile, Stray, judge, looks_lost
from operations.doctor import (
    disk_check,
    documents_check,
    files_check,
    groups_check,
    jobs_check,
    kafka_check,
    s3_check,
    topics_check,
    workers_check,
)
from operations.doctor.groups_check import Standing
from operations.doctor.surroundings import Surroundings
from operations.workers.roster import Pool
from repo.core.object_keys import file_key, input_key
from repo.kafka_inspection import Cluster, Group, Replication
from repo.memory import MemoryJobStore
from repo.mongo_inspection import OfJob
from repo.s3_inspection import Answered
from repo.settings import FallbackSettings, ServerSettings
from repo.topic_admin import TopicState
from schemas.jobs import Job, Output, StoredFile
from schemas.lifecycle import State
from streams.core.forgetting import LEAST_MS
from tests.operations.doctor.jobs_made import a_job

DAY = 86_400_000
NOW = 1_790_000_000_000
RESTART = "kill -9 1"


def test_the_worst_finding_is_the_exit_code() -> None:
    assert exit_code([]) == exit_code([ok("a", ""), note("a", "")]) == 0
    assert exit_code([problem("a", "", "", ""), ok("a", "")]) == 3
    assert worst([note("a", ""), ok("a", "")]) is Level.NOTE


def test_spans_and_lists_in_words() -> None:
    assert [age(ms) for ms in (-5, 999, 61_000, 121_000, 7_200_000, 3 * DAY)] == [
        "0 s",
        "0 s",
        "61 s",
        "2 min",
        "2 h",
        "3 d",
    ]
    assert first(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert first(iter("ab")) == "a, b"


def _cluster(brokers: int = 3, controller: int | None = 1) -> Cluster:
    return Cluster("c", tuple(f"b{number}:9092" for number in range(brokers)), controller)


@pytest.mark.parametrize(
    ("cluster", "replication", "words"),
    [
        (_cluster(), Replication("openv.events", 3, 3, 2), ""),
        (_cluster(controller=None), Replication("openv.events", 3, 3, 2), "no broker leads"),
        (_cluster(), Replication("openv.events", 3, 1, 2), "can't be written: openv.events"),
        (_cluster(), Replication("openv.events", 3, 2, 2), "replicas are behind: openv.events"),
        (_cluster(), Replication("openv.events", 1, 1, 1), "too few replicas: openv.events (1)"),
        (_cluster(), Replication("openv.events", 3, 3, 1), "min.insync.replicas is 1: openv.events"),
        (_cluster(1), Replication("openv.events", 1, 1, 1), ""),
    ],
)
def test_replicas_against_brokers(cluster: Cluster, replication: Replication, words: str) -> None:
    wrong = [one.what for one in kafka_check.judged(cluster, [replication]) if one.level is Level.PROBLEM]
    assert wrong == ([words] if words else [])


def _standing(**changes: Any) -> Standing:
    group = Group("openv-ledger", "Stable", 1, {})
    made = Standing("ledger", "openv.commands", {0: 9}, {0: 0}, {0: 10}, None, group)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (_standing(), ""),
        (_standing(ends={0: 20}, oldest_ms=59_999), ""),
        (_standing(ends={0: 20}, oldest_ms=60_000), "ledger is behind: 10 records"),
        (_standing(ends={0: 20, 1: 5}, oldest_ms=60_000, late=(0, 1), still=(1,)), "ledger stands still: 5 records"),
        (_standing(starts={0: 10}), ""),
        (_standing(starts={0: 12}, ends={0: 12}), "2 records of openv.commands went before the ledger applied them"),
        (_standing(name="scheduler", starts={0: 12}, ends={0: 12}), ""),
        (_standing(group=Group("openv-ledger", "Empty", 0, {})), "no ledger runs"),
        (_standing(group=Group("openv-ledger", "Dead", 0, {}), applied={}, ends={0: 0}), ""),
    ],
)
def test_readers_against_their_topic(standing: Standing, words: str) -> None:
    wrong = [one.what for one in groups_check.judged(standing, RESTART) if one.level is Level.PROBLEM]
    assert [one.startswith(words) for one in wrong] == ([True] if words else [])


async def test_who_applied_something_between_two_looks_does_not_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_check, "APART_S", 0.0)
    jobs = MemoryJobStore()
    around = cast("Surroundings", SimpleNamespace(desk=SimpleNamespace(database=SimpleNamespace(jobs=jobs))))
    late = _standing(applied={0: 9, 1: 3}, ends={0: 20, 1: 5, 2: 1}, oldest_ms=60_000, late=(0, 1, 2))
    nobody = replace(late, group=Group("openv-ledger", "Empty", 0, {}))
    foreign = replace(late, name="inspector openv.progress", group=None)
    await jobs.store_applied_offsets("ledger", {0: 9, 1: 4})
    looked = await groups_check._looked_again(around, [late, nobody, foreign, _standing()])
    assert [one.still for one in looked] == [(0, 2), (), (), ()]
    await jobs.store_applied_offsets("ledger", {0: 10, 2: 0})
    (moved,) = await groups_check._looked_again(around, [late])
    assert [one.what.startswith("ledger is behind") for one in groups_check.judged(moved, RESTART)] == [True]


@pytest.mark.parametrize(
    ("origin", "answered", "words"),
    [
        (None, Answered(200, None, None, True), ""),
        ("https://a.example", Answered(200, "*", None, True), ""),
        ("https://a.example", Answered(200, "https://a.example", None, True), ""),
        ("https://a.example", Answered(200, "https://b.example", None, True), "may not read"),
        ("https://a.example", Answered(200, None, None, True), "may not read"),
        ("https://a.example", Answered(403, None, None, False), "answered 403"),
        (None, Answered(200, None, None, False), "answered 200"),  # a proxy's log-in page
    ],
)
def test_what_a_browser_gets(origin: str | None, answered: Answered, words: str) -> None:
    wrong = s3_check.judged("main", origin, answered)
    assert [words in one.what for one in wrong] == ([True] if words else [])


@pytest.mark.parametrize(
    ("endpoint", "bucket", "same"),
    [("http://S3:1/", "openv", True), ("http://s3:1", "second", False), ("http://s4:1", "openv", False)],
)
def test_a_fallback_that_is_none(endpoint: str, bucket: str, *, same: bool) -> None:
    first = ServerSettings.model_construct(s3_endpoint_url="http://s3:1", s3_bucket="openv")
    second = FallbackSettings.model_construct(endpoint_url=endpoint, bucket=bucket)
    assert bool(s3_check.same_bucket(first, second)) is same
    assert s3_check.same_bucket(first, FallbackSettings.model_construct(endpoint_url=None)) == []


def test_disks() -> None:
    gb = 10**9
    assert disk_check.judged(100 * gb, 1_000 * gb, ".")[0].level is Level.OK
    assert disk_check.judged(49 * gb, 1_000 * gb, ".")[0].level is Level.PROBLEM
    assert disk_check.judged(gb, 10 * gb, ".")[0].level is Level.PROBLEM


def test_no_topic_is_advised_to_be_deleted() -> None:
    wrong = [
        TopicState("openv.commands", 3, "7 d", ("it has 3 partitions instead of 8",)),
        TopicState("openv.commands", None, "", ("it does not exist",)),
        TopicState("openv.commands", 8, "1 h", ("retention.ms is 3600000 instead of 604800000",)),
    ]
    counted, missing, other = [topics_check.judged(state)[0] for state in wrong]
    assert (counted.repair, missing.repair, other.repair) == (None, Mends.TOPICS, Mends.TOPICS)
    assert counted.mend == "openv replay openv.commands --into file:openv.commands.ndjson"
    assert missing.mend == other.mend == "openv topics apply"


def test_pools_where_jobs_wait() -> None:
    pool = Pool("mochi-1", 2, 0, NOW - 60_000, 0, 0, 1, 0, 1)
    (wrong,) = workers_check.judged(pool, NOW)
    assert "2 jobs wait in pool mochi-1, and no worker takes them (1 starting, 1 silent)" in wrong.what
    assert workers_check.judged(pool, NOW - 1) == []
    assert workers_check.judged(replace(pool, busy=1), NOW) == []
    assert workers_check.judged(replace(pool, oldest_at=None), NOW) == []


@pytest.mark.parametrize(
    ("job", "stuck"),
    [
        (a_job(state=State.QUEUED, expires_at=NOW - 120_001), True),
        (a_job(state=State.QUEUED, expires_at=NOW - 120_000), False),
        (a_job(state=State.PROCESSING, started_at=NOW - 180_001, execution_timeout_ms=60_000), True),
        (a_job(state=State.PROCESSING, started_at=NOW - 180_000, execution_timeout_ms=60_000), False),
        (a_job(state=State.PROCESSING, started_at=None), False),
    ],
)
def test_jobs_past_their_time(job: Job, *, stuck: bool) -> None:
    assert jobs_check.is_stuck(job, NOW) is stuck


def _video(job: Job, attempt: int = 1, user: str = "ann") -> str:
    return file_key(user, job.job_id, attempt, "w", "s", "video")


def _shows(key: str, store: str | None = None) -> Output:
    return Output(video=StoredFile(key=key, bytes=1, sha256="", media_type="video/mp4", store=store))


def test_a_file_is_judged_by_its_job() -> None:
    job = a_job()
    key, old = _video(job), NOW - 2 * DAY

    def kind(jobs: dict[str, Job | None], at: int = old, key: str = key, made_at: int = 0) -> Stray | None:
        return judge(Found(key, at, 1), jobs, NOW, DAY, made_at)

    one = job.job_id
    assert kind({one: replace(job, output=_shows(key))}) is None
    for store in (None, "fallback"):
        # In whichever store it was found: both may be one bucket, by two names.
        assert kind({one: replace(job, output=_shows(key, store))}) is None
    assert kind({one: replace(job, output=Output(value_key=key))}) is None
    assert kind({one: job}) is Stray.OF_ATTEMPTS
    assert kind({one: job}, at=NOW - DAY + 1) is None
    assert kind({one: replace(job, updated_at=NOW - DAY + 1)}) is None, "its files may just be on their way"
    for state in (State.QUEUED, State.PROCESSING):
        assert kind({one: replace(job, state=state)}) is None
    assert kind({one: replace(job, state=State.DELETED)}) is Stray.OF_DELETED
    assert kind({one: replace(job, user_id="bob")}) is Stray.FOREIGN
    assert kind({one: None}) is Stray.FOREIGN, "a document that can't be read may show it"
    assert kind({}) is None
    assert kind({}, at=NOW - LEAST_MS) is Stray.OF_NO_JOB
    assert kind({}, at=NOW - LEAST_MS, made_at=NOW) is Stray.OF_BEFORE
    assert kind({}, at=NOW - LEAST_MS, made_at=NOW - LEAST_MS + MADE_SLACK_MS) is Stray.OF_NO_JOB
    assert kind({one: replace(job, state=State.DELETED)}, made_at=NOW) is Stray.OF_DELETED
    assert kind({one: job}, key=input_key("ann", one)) is None
    assert kind({one: replace(job, state=State.DELETED)}, key=input_key("ann", one)) is Stray.OF_DELETED
    assert kind({}, key="backup.tar") is Stray.FOREIGN
    assert kind({}, key=f"{PROBES}1") is Stray.OF_PROBES
    assert kind({}, key=f"{PROBES}1", at=NOW) is None


def a_pile(found: list[Found]) -> Pile:
    pile = Pile()
    for one in found:
        pile.add(one)
    return pile


def test_files_of_a_lost_database_are_not_offered_for_deletion() -> None:
    of_no_job = [Found(_video(a_job(job_id=str(uuid.uuid4()))), 1, 1) for _ in range(FEW + 1)]
    (lost,) = files_check.judged("main", {Stray.OF_NO_JOB: a_pile(of_no_job)}, 2 * FEW, None)
    assert (lost.repair, lost.targets, lost.mend) == (None, (), "openv rebuild --verify")
    (few,) = files_check.judged("main", {Stray.OF_NO_JOB: a_pile(of_no_job)}, 2 * FEW + 2, None)
    assert (few.repair, len(few.targets)) == (Mends.FILES, FEW + 1)
    assert not looks_lost(FEW, FEW)


def test_files_that_a_backup_may_know_are_told_and_left_alone() -> None:
    before = [Found(_video(a_job(job_id=str(uuid.uuid4()))), 1, 1) for _ in range(FEW + 1)]
    (told,) = files_check.judged("main", {Stray.OF_BEFORE: a_pile(before)}, 2 * FEW + 2, None)
    assert (told.level, told.repair, told.targets) == (Level.NOTE, None, ())
    assert "--merge" in told.mend
    (lost,) = files_check.judged("main", {Stray.OF_BEFORE: a_pile(before)}, 2 * FEW, None)
    assert (lost.level, lost.repair) == (Level.PROBLEM, None)


def test_what_belongs_to_lost_jobs_is_not_offered_for_deletion() -> None:
    strays = [OfJob("chunks", f"c{number}", f"j{number}") for number in range(FEW + 1)]
    lost = documents_check.judged("chunks", strays, 2 * FEW)
    assert (lost.repair, lost.targets, lost.mend) == (None, (), "openv rebuild --verify")
    few = documents_check.judged("chunks", strays, 2 * FEW + 2)
    assert (few.repair, len(few.targets)) == (Mends.DOCUMENTS, FEW + 1)
    assert documents_check.judged("remote_runs", strays, 2 * FEW + 2).repair is None
