"""A job's steps out of records: their order, what is told in sum, what is told again, and what is never told."""

from dataclasses import replace
from typing import Any

from operations.core.attempts import attempts_of
from operations.core.timeline import Step, is_about, timeline
from schemas.codec import Message, Record, encode
from schemas.commands import AttemptStarted, AttemptSucceeded, CancelJob, SubmitJob
from schemas.dispatch import RunAttempt, StopAttempt, WorkerBeat, WorkerState
from schemas.events import CommandAnswered, JobEvent, Outcome
from schemas.failures import FailureCode
from schemas.jobs import AttemptEnd, EarlierAttempt, Job, Output
from schemas.lifecycle import State
from schemas.phases import Phase
from schemas.progress import AttemptPreview, AttemptProgress, QueuePlace, WorkerUpdate
from schemas.replays import Replayed
from schemas.topics import COMMANDS, DEADLETTER
from streams.deadletters import CannotProcess, dead_letter
from tests.repo.jobs import a_job
from tests.streams.submissions import submission

SECRET = "nobody else may read this"
JOB = a_job("ann", worker_id=None)
ID = JOB.job_id
TOKEN: dict[str, Any] = {"user_id": "ann", "job_id": ID, "attempt": 1, "worker_id": "w-1"}
ORDER: dict[str, Any] = {"worker_id": "w-1", "session": "s", "job_id": ID, "attempt": 1}


class Log:
    """Records in the order in which they are said, an offset each."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def say(self, at: int, message: Message, *, partition: int = 0, more: tuple[tuple[str, bytes], ...] = ()) -> Record:
        made = encode(message, source="/tests", at=at, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
        record = Record(made.topic, partition, len(self.records), at, made.key, made.value, (*made.headers, *more))
        self.records.append(record)
        return record

    def steps(self) -> tuple[Step, ...]:
        return timeline([one for one in self.records if is_about(one, ID)], (), ID)


def submitted(**changes: Any) -> SubmitJob:
    request = replace(JOB.request, prompt=SECRET, input=SECRET)
    return submission("ann", "mochi", job_id=ID, command_id="c-1", request=request, webhook=SECRET, **changes)


def event(version: int, state: State, **changes: Any) -> JobEvent:
    return JobEvent(replace(JOB, version=version, state=state, **changes))


def run() -> RunAttempt:
    order = {**ORDER, "pool": "mochi", "user_id": "ann", "run": 1, "execution_timeout_ms": 5_000, "assigned_at": 0}
    return RunAttempt(**order, request=replace(JOB.request, prompt=SECRET))


def test_steps_are_in_the_order_in_which_things_happen_and_say_how_long_they_took() -> None:
    log = Log()
    answer = CommandAnswered(command_id="c-1", user_id="ann", outcome=Outcome.ADMITTED, job_id=ID, version=1)
    log.say(130, StopAttempt(**ORDER, reason="cancelled"), partition=1)
    log.say(100, event(1, State.QUEUED))
    log.say(100, answer)
    log.say(110, run())
    log.say(100, submitted())
    log.say(125, AttemptStarted(command_id="c-2", **TOKEN))
    log.say(125, event(2, State.PROCESSING, worker_id="w-1"))
    steps = log.steps()
    assert [(one.at, one.kind, one.what, one.lasted_ms) for one in steps] == [
        (100, "command", "submit", 0),
        (100, "event", "queued", 25),
        (100, "answer", "admitted", None),
        (110, "order", "run", 15),
        (125, "command", "started", None),
        (125, "event", "processing", None),
        (130, "order", "stop", None),
    ]
    assert {one.trace_id for one in steps} == {"a" * 32}
    assert steps[0].place == "openv.commands/0/4"
    assert SECRET not in str(steps)


def test_a_partition_keeps_its_order_where_its_writers_clocks_differ() -> None:
    log = Log()
    for version, at in ((1, 500), (2, 90), (3, 510)):
        log.say(at, event(version, State.QUEUED))
    log.say(505, CancelJob(command_id="c", user_id="ann", job_id=ID))
    assert [(one.at, one.id) for one in log.steps()] == [
        (500, f"{ID}:1"),
        (500, f"{ID}:2"),
        (505, "c"),
        (510, f"{ID}:3"),
    ]


def test_many_of_a_kind_are_told_once_and_nothing_that_anybody_wrote() -> None:
    log = Log()
    progress: dict[str, Any] = {**TOKEN, "phase": Phase.DENOISE, "steps": 4, "elapsed_ms": 1}
    for number in range(4):
        log.say(100 + number, AttemptProgress(**progress, sequence=number, step=number, fraction=number / 4))
        log.say(100 + number, AttemptPreview(**TOKEN, sequence=number, step=number, steps=4, jpeg=SECRET))
        log.say(100 + number, WorkerUpdate(**TOKEN, sequence=number, value=SECRET))
        log.say(100 + number, QueuePlace(user_id="ann", job_id=ID, sequence=number, attempt=1, place=9 - number))
        beat: dict[str, Any] = {"pool": "mochi", "worker_id": "w-1", "session": "s", "job_id": ID, "attempt": 1}
        log.say(100 + number, WorkerBeat(**beat, sequence=number, state=WorkerState.BUSY))
    log.say(200, AttemptProgress(**{**progress, "attempt": 2}, sequence=9, step=1, fraction=0.5))
    told = {(one.what, one.attempt): (one.at, one.words, one.lasted_ms) for one in log.steps()}
    assert told == {
        ("progress", 1): (100, "4 in all; the last: denoise 3/4, 75%", 3),
        ("preview", 1): (100, "4 in all; the last: step 3/4", 3),
        ("update", 1): (100, f"4 in all; the last: {len(SECRET)} characters of its own", 3),
        ("place in the queue", 1): (100, "4 in all; the last: 6", 3),
        ("heartbeat", 1): (100, "4 in all; the last: busy, session s", 3),
        ("progress", 2): (200, "denoise 1/4, 50%", None),
    }
    assert SECRET not in str(log.steps())


def test_what_is_told_again_replayed_or_put_aside_is_said_to_be() -> None:
    log = Log()
    first = log.say(100, event(1, State.QUEUED))
    again = Replayed("r-1", "openv.events", 0, first.offset, 100, 2)
    log.say(900, event(1, State.QUEUED), more=again.headers())
    lost = log.say(950, submitted())
    log.records.pop()
    dead = dead_letter(lost, "openv-ledger", CannotProcess("it is cursed"))
    log.records.append(Record(DEADLETTER.name, 1, 7, 960, dead.key, dead.value, dead.headers))
    one, two, three = log.steps()
    assert (one.what, one.replay) == ("queued", None)
    assert (two.what, two.replay) == ("queued (again)", f"r-1, number 2, from openv.events/0/{first.offset}")
    assert (three.kind, three.what) == ("dead letter", "command.submit.v1")
    assert three.words == f"of openv.commands/0/{lost.offset}, put aside by openv-ledger: it is cursed"


def test_a_dead_letter_with_headers_that_mean_nothing_is_shown_all_the_same() -> None:
    log = Log()
    lost = log.say(950, submitted())
    log.records.pop()
    dead = dead_letter(lost, "openv-ledger", CannotProcess("it is cursed"))
    odd = ("kafka_dlt-original-offset", b"\xff" * 5_000)
    headers = tuple(odd if name == odd[0] else (name, value) for name, value in dead.headers)
    log.records.append(Record(DEADLETTER.name, 1, 7, 960, dead.key, dead.value, headers))
    (step,) = log.steps()
    assert step.words == "of openv.commands, put aside by openv-ledger: it is cursed"


def test_what_is_about_another_job_is_left_out_and_what_cant_be_read_is_not() -> None:
    log = Log()
    other = submission("ann", "mochi", request=replace(JOB.request, prompt=f"like {ID}"))
    log.say(100, other)
    log.records.append(
        Record(COMMANDS.name, 0, 9, 101, b"ann", b"{}", (("ce_type", b"x"), ("ce_subject", ID.encode())))
    )
    (step,) = log.steps()
    assert (step.what, step.words) == ("unreadable", "unknown type x")


def test_attempts_are_those_of_the_document_the_newest_with_how_it_stands() -> None:
    lost = EarlierAttempt(
        attempt=1, worker_id="w-1", end=AttemptEnd.LOST, code=FailureCode.WORKER_LOST, started_at=5, ended_at=9
    )

    def ends(job: Job) -> list[tuple[int, str, int | None]]:
        return [(one.attempt, one.end, one.lasted_ms) for one in attempts_of(job)]

    waits = replace(JOB, attempt=2, earlier_attempts=(lost,))
    assert ends(waits) == [(1, "lost", 4)]
    runs = replace(waits, state=State.PROCESSING, worker_id="w-2", started_at=10)
    assert ends(runs) == [(1, "lost", 4), (2, "runs", None)]
    done = replace(runs, state=State.COMPLETED, winning_attempt=2, finished_at=30)
    assert ends(done) == [(1, "lost", 4), (2, "delivered", 20)]
    assert ends(replace(runs, state=State.CANCELLED, finished_at=11))[-1] == (2, "stopped", 1)
    late = replace(done, worker_id="w-1", winning_attempt=1)
    assert ends(late) == [(1, "lost, then delivered", 4)]


def test_files_that_were_delivered_are_counted() -> None:
    log = Log()
    log.say(
        1, AttemptSucceeded(command_id="c", **TOKEN, output=Output(value=SECRET, remote_url="https://example.org/v"))
    )
    (step,) = log.steps()
    assert step.words == "0 files, 0 bytes, kept elsewhere"
