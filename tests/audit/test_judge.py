"""The judge is fed logs with one thing wrong and has to say which."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest

from schemas.accounts import Account
from schemas.codec import Message, Record, decode, encode
from schemas.commands import AnyCommand, AskUsage, AttemptStarted, AttemptSucceeded, CancelJob, DeleteUser, GrantCredits
from schemas.events import CommandAnswered, JobEvent, Outcome
from schemas.jobs import Job, Output
from schemas.topics import COMMANDS
from streams.core.policy import Policy
from streams.perform import LEDGER, messages_of
from tests.audit.judge import Judge, Place
from tests.audit.witness import Bookkeeping, behind
from tests.streams.core_replay import CoreReplay
from tests.streams.submissions import submission

NOW = 1_800_000_000_000
POLICY = Policy()
ENDS = {COMMANDS.name: {0: 1000}}
Change = Callable[[Record, Message], list[Record]]


def as_it_is(record: Record, message: Message) -> list[Record]:
    return [record]


def commands() -> list[AnyCommand]:
    """A job's life, words that change nothing, and a deletion, which tells of the job twice."""
    job = submission("ann", "pool", command_id="submit", job_id="j1", append_by=NOW + 1_000)
    report = {"user_id": "ann", "job_id": "j1", "attempt": 1, "worker_id": "w"}
    return [
        job,
        AttemptStarted(command_id="started", **report),
        GrantCredits(command_id="grant", user_id="ann", grant_id="g", credits=5.0),
        AttemptSucceeded(command_id="succeeded", **report, output=Output(width=848)),
        AskUsage(command_id="usage", user_id="ann"),
        CancelJob(command_id="cancel", user_id="ann", job_id="j1"),
        DeleteUser(command_id="delete", user_id="ann", issued_at=NOW),
    ]


@dataclass
class Scene:
    """A judge, what the ledger said to it, and what MongoDB would hold."""

    judge: Judge = field(default_factory=lambda: Judge(POLICY))
    core: CoreReplay = field(default_factory=lambda: CoreReplay(POLICY))
    said: list[Record] = field(default_factory=list)

    def jobs(self) -> list[Job]:
        return list(self.core.views["ann"].jobs.values())

    def account(self) -> Account:
        return self.core.views["ann"].account

    def check(self, jobs: Iterable[Job], *, at_rest: bool = True) -> list[str]:
        self.compare(jobs, self.account(), at_rest=at_rest)
        return self.judge.differences

    def compare(self, jobs: Iterable[Job], account: Account, *, at_rest: bool) -> bool:
        view, versions = self.judge.users["ann"], self.judge.versions
        return versions.check(view, jobs, account, versions.newest(view), at_rest=at_rest)


def played(change: Change = as_it_is, *, skip: int | None = None) -> Scene:
    """The commands decided by a ledger that skips one, its announcements changed on their way to the judge."""
    scene = Scene()
    for offset, command in enumerate(commands()):
        now = NOW + 10 * offset
        record = as_record(command, offset, now, source="/audit", trace=f"trace-{offset}", at=now)
        scene.judge.command(record)
        if offset == skip:
            continue
        for decision in scene.core.take(command, now):
            for message in messages_of(decision):
                told = as_record(message, len(scene.said), now + 3, source=LEDGER, trace=f"trace-{offset}", at=now)
                for one in change(told, message):
                    scene.said.append(one)
                    scene.judge.announcement(one)
    return scene


def as_record(message: Message, offset: int, timestamp: int, *, source: str, trace: str, at: int) -> Record:
    made = encode(message, source=source, at=at, traceparent=trace)
    return Record(made.topic, 0, offset, timestamp, made.key, made.value, made.headers)


def changed(record: Record, message: Message) -> Record:
    """The same record with another message in it."""
    made = encode(message, source=LEDGER, at=0)
    return replace(record, value=made.value)


def test_what_the_core_says_is_found_in_order() -> None:
    scene = played()
    assert scene.judge.missing(ENDS) == {}
    assert scene.check(scene.jobs()) == []
    assert list(scene.judge.versions.never_made()) == []
    assert (scene.judge.commands, scene.judge.twice, scene.judge.traceless) == (7, 0, 0)
    assert set(scene.judge.waits) == {3}


def test_announcements_that_come_before_the_command_was_read_count() -> None:
    played_before, judge = played(), Judge(POLICY)
    for record in played_before.said:
        judge.announcement(record)
    for offset, command in enumerate(commands()):
        now = NOW + 10 * offset
        judge.command(as_record(command, offset, now, source="/audit", trace=f"trace-{offset}", at=now))
    assert judge.missing(ENDS) == {}
    assert judge.differences == []
    assert list(judge.versions.never_made()) == []


@pytest.mark.parametrize("offset", range(len(commands())))
def test_a_skipped_record_is_named(offset: int) -> None:
    scene = played(skip=offset)
    assert Place(COMMANDS.name, 0, offset) in scene.judge.missing(ENDS)
    assert scene.judge.missing({COMMANDS.name: {0: offset}}).keys().isdisjoint([Place(COMMANDS.name, 0, offset)])


def test_each_announcement_that_is_left_out_is_missed() -> None:
    whole = played()
    for number in range(len(whole.said)):
        left_out = whole.said[number]

        def leave_out(record: Record, message: Message, left_out: Record = left_out) -> list[Record]:
            return [] if (record.topic, record.headers) == (left_out.topic, left_out.headers) else [record]

        assert len(played(leave_out).judge.missing(ENDS)) == 1, left_out


def test_a_document_announced_otherwise_is_named() -> None:
    def other_prompt(record: Record, message: Message) -> list[Record]:
        if isinstance(message, JobEvent) and message.job.version == 2:
            job = replace(message.job, request=replace(message.job.request, prompt="another"))
            return [changed(record, JobEvent(job))]
        return [record]

    differences = played(other_prompt).judge.differences
    assert any("j1 version 2 is not the core's" in one for one in differences), differences


def test_an_answer_that_the_core_would_not_give_is_named() -> None:
    def refused(record: Record, message: Message) -> list[Record]:
        if isinstance(message, CommandAnswered) and message.command_id == "submit":
            return [changed(record, replace(message, outcome=Outcome.REFUSED))]
        return [record]

    (difference,) = played(refused).judge.differences
    assert difference.startswith("openv.commands 0:0: ")


def test_the_same_version_announced_with_two_times_is_named() -> None:
    def twice(record: Record, message: Message) -> list[Record]:
        if isinstance(message, JobEvent):
            return [record, changed(record, JobEvent(replace(message.job, updated_at=message.job.updated_at + 1)))]
        return [record]

    differences = played(twice).judge.differences
    assert any("announced differently before" in one for one in differences), differences


def test_a_version_that_the_core_does_not_make_is_named() -> None:
    def one_more(record: Record, message: Message) -> list[Record]:
        if isinstance(message, JobEvent) and message.job.version == 4:
            return [record, changed(record, JobEvent(replace(message.job, version=5)))]
        return [record]

    (found,) = set(played(one_more).judge.versions.never_made())
    assert "j1 version 5" in found


def test_repeated_announcements_are_no_fault_and_are_counted() -> None:
    def twice(record: Record, message: Message) -> list[Record]:
        return [record, record]

    scene = played(twice)
    assert scene.judge.missing(ENDS) == {}
    assert scene.judge.differences == []
    answers = [record for record in scene.said if isinstance(decode(record), CommandAnswered)]
    assert scene.judge.twice == len(answers) // 2 == 5


def test_documents_in_mongodb_that_differ_are_named() -> None:
    (job,) = played().jobs()
    for jobs, words in (
        ([], "no document"),
        ([replace(job, pool="elsewhere")], "not the core's"),
        ([replace(job, version=job.version - 1)], f"MongoDB has version {job.version - 1}"),
        ([replace(job, version=job.version + 1)], f"MongoDB has version {job.version + 1}"),
        ([replace(job, updated_at=1)], "another time than stored"),
        ([job, replace(job, job_id="j2")], "j2: MongoDB has version"),
    ):
        differences = played().check(jobs)
        assert differences, words
        assert words in differences[0]


def test_a_document_ahead_of_the_log_that_was_read_is_asked_for_again() -> None:
    scene = played()
    (job,) = scene.jobs()
    ahead = replace(job, version=job.version + 1)
    assert not scene.compare([ahead], scene.account(), at_rest=False)
    assert scene.judge.differences == []


def test_an_account_that_differs_is_named() -> None:
    scene = played()
    scene.compare(scene.jobs(), replace(scene.account(), blocked=True), at_rest=True)
    (difference,) = scene.judge.differences
    assert difference.startswith("account ann version")


def test_bookkeeping_that_stands_still_is_named() -> None:
    ends = {0: 10, 1: 5, 2: 0}
    well = Bookkeeping(committed={0: 10, 1: 6}, applied={0: 9, 1: 5}, members=2)
    assert behind("ledger", "openv.commands", ends, well, 2) == []
    assert behind("ledger", "openv.commands", ends, replace(well, committed={0: 9, 1: 6}), 2) == [
        "stuck: openv.commands 0: ledger has committed 9 of 10"
    ]
    assert behind("ledger", "openv.commands", ends, replace(well, applied={0: 9}), 2) == [
        "stuck: openv.commands 1: ledger has noted -1 as applied, the log ends at 5"
    ]
    assert behind("ledger", "openv.commands", ends, replace(well, members=1), 2) == [
        "the group of the ledger has 1 members, 2 processes run"
    ]
