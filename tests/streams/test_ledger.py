"""The ledger's shell over memory twins: its order of writing and announcing, lost races, crashes in between."""

from dataclasses import replace
from typing import Any

import pytest

from repo.core.documents import DamagedDocumentError, from_document, to_document
from repo.memory import MemoryEventLog, MemoryJobStore
from repo.ports import Unavailable
from schemas.accounts import Account
from schemas.codec import Encoded, Message, Record, Unreadable, decode, encode
from schemas.commands import (
    AnyCommand,
    AskUsage,
    AttemptStarted,
    CancelJob,
    DeleteUser,
    GrantCredits,
    SetBlocked,
    SubmitJob,
)
from schemas.dispatch import JobMoved
from schemas.events import AccountEvent, CommandAnswered, JobEvent, Outcome
from schemas.jobs import Job
from schemas.lifecycle import State
from schemas.requests import GenerationRequest
from schemas.topics import DISPATCH, EVENTS
from streams import ledger as module
from streams.core.policy import Policy
from streams.deadletters import CannotProcess
from streams.ledger import LOST_IN_A_ROW, Ledger

NOW = 1_700_000_000_000


class Store(MemoryJobStore):
    """Fails where a test says so: ``fail_after`` names a method whose answer is lost once it did its work."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_after: str | None = None
        self.races = 0
        self.reads: list[str] = []

    async def account(self, user_id: str) -> Account | None:
        self.reads.append(f"account {user_id}")
        return await super().account(user_id)

    async def store_account(self, account: Account, expected: int) -> bool:
        if self.races:
            self.races -= 1
            return False
        stored = await super().store_account(account, expected)
        self._lose("store_account")
        return stored

    async def store_job(self, job: Job, expected: int) -> bool:
        stored = await super().store_job(job, expected)
        self._lose("store_job")
        return stored

    def _lose(self, name: str) -> None:
        if self.fail_after == name:
            self.fail_after = None
            raise Unavailable("mongodb", "its answer was lost")


class Log(MemoryEventLog):
    """``failures``: how many appends do not work."""

    failures = 0

    async def append(self, message: Encoded, *, partition: int | None = None) -> Any:
        if self.failures:
            self.failures -= 1
            raise Unavailable("kafka", "away")
        return await super().append(message, partition=partition)


class Books:
    """A ledger and what it works on."""

    def __init__(self, **policy: Any) -> None:
        self.store, self.log = Store(), Log()
        self.ledger = Ledger(self.store, self.log, Policy(**policy), clock=lambda: NOW)
        self.generation = 1
        self._offset = 0

    async def tell(self, command: AnyCommand, at: int = NOW) -> None:
        """Handle a command as a record."""
        encoded = encode(command, source="/tests", at=at)
        record = Record(encoded.topic, 0, self._offset, at, encoded.key, encoded.value, encoded.headers)
        self._offset += 1
        await self.ledger.handle(command, record, self.generation)

    def events(self) -> list[Message]:
        return [
            message for record in self.log.records(EVENTS.name) if not isinstance(message := decode(record), Unreadable)
        ]

    def answer(self, command: AnyCommand) -> CommandAnswered:
        return [
            one for one in self.events() if isinstance(one, CommandAnswered) and one.command_id == command.command_id
        ][-1]


def submit(number: int = 1, user: str = "ann") -> SubmitJob:
    return SubmitJob(
        command_id=f"c{number}",
        user_id=user,
        job_id=f"j{number}",
        pool="mochi",
        request=GenerationRequest(prompt="a corgi", num_frames=7),
        request_hash=f"h{number}",
        append_by=NOW + 1000,
    )


async def test_an_admission_is_stored_settled_and_announced() -> None:
    books = Books()
    await books.tell(submit())

    job = await books.store.job("j1")
    account = await books.store.account("ann")
    assert job is not None
    assert account is not None
    assert job.state is State.QUEUED
    assert list(account.pending) == ["j1"]
    assert books.events()[0] == JobEvent(job)
    assert books.answer(submit()).outcome is Outcome.ADMITTED
    (moved,) = map(decode, books.log.records(DISPATCH.name))
    assert isinstance(moved, JobMoved)


async def test_a_question_of_usage_is_answered_alone_and_leaves_no_trace() -> None:
    books = Books(monthly_limit_seconds=2.0)
    question = AskUsage(command_id="q", user_id="ann")
    await books.tell(question)
    first = books.answer(question)
    assert books.events() == [first]
    assert first.remaining is not None
    assert (first.outcome, first.remaining.remaining_seconds) == (Outcome.UNCHANGED, 2.0)
    assert await books.store.account("ann") is None
    await books.tell(submit())
    books.store.reads.clear()
    await books.tell(question)
    again = books.answer(question)
    assert again.remaining is not None
    assert (again.remaining.used_seconds, again.remaining.active) == (0.29, 1)
    assert books.store.reads == [], "what is known of the user was enough"


async def test_the_user_is_loaded_once_a_generation() -> None:
    books = Books()
    await books.tell(submit(1))
    await books.tell(submit(2))
    books.generation = 2
    await books.tell(submit(3))

    assert books.store.reads == ["account ann", "account ann"]


@pytest.mark.parametrize("where", ["store_account", "kafka"])
async def test_a_lost_answer_or_announcement_heals_on_the_next_try(where: str) -> None:
    books = Books()
    if where == "kafka":
        books.log.failures = 1
    else:
        books.store.fail_after = where
    with pytest.raises(Unavailable):
        await books.tell(submit())

    await books.tell(submit())

    job = await books.store.job("j1")
    assert job is not None
    assert job.version == 1
    assert JobEvent(job) in books.events()
    assert books.answer(submit()).outcome is Outcome.ADMITTED


async def test_an_admission_that_another_writer_left_unfinished_is_finished_first() -> None:
    books = Books()
    books.store.fail_after = "store_account"  # the account holds the job, nobody inserted it
    with pytest.raises(Unavailable):
        await books.tell(submit(1))
    assert await books.store.job("j1") is None

    successor = Ledger(books.store, books.log, Policy(), clock=lambda: NOW)
    other = submit(2)
    encoded = encode(other, source="/tests", at=NOW)
    await successor.handle(other, Record(encoded.topic, 0, 9, NOW, encoded.key, encoded.value, ()), 1)

    first = await books.store.job("j1")
    assert first is not None
    assert books.events()[0] == JobEvent(first)
    assert books.answer(other).remaining is not None
    assert books.answer(other).remaining.active == 2  # type: ignore[union-attr]


async def test_a_lost_race_is_decided_again_on_what_the_other_wrote() -> None:
    books = Books()
    books.store.races = 3
    await books.tell(submit())
    assert books.answer(submit()).outcome is Outcome.ADMITTED
    assert books.store.reads == ["account ann"] * 4


async def test_races_without_end_are_waited_out() -> None:
    books = Books()
    books.store.races = LOST_IN_A_ROW
    with pytest.raises(Unavailable):
        await books.tell(submit())


async def test_the_same_command_again_answers_the_same_and_changes_nothing() -> None:
    books = Books(max_active=1)
    for _ in range(2):
        await books.tell(submit(1))
        await books.tell(submit(2))

    assert books.answer(submit(1)).outcome is Outcome.ADMITTED
    assert books.answer(submit(2)).outcome is Outcome.REFUSED
    assert [(await books.store.job(f"j{n}")).version for n in (1, 2)] == [1, 1]  # type: ignore[union-attr]


async def test_another_users_job_is_not_found_and_not_counted() -> None:
    books = Books(max_active=1)
    await books.tell(submit(1, "ann"))
    cancel = CancelJob(command_id="x", user_id="bob", job_id="j1")
    await books.tell(cancel)
    await books.tell(submit(2, "bob"))

    assert books.answer(cancel).outcome is Outcome.NOT_FOUND
    assert books.answer(submit(2, "bob")).outcome is Outcome.ADMITTED
    assert (await books.store.job("j1")).state is State.QUEUED  # type: ignore[union-attr]


async def test_updated_at_never_goes_back_for_a_user() -> None:
    books = Books()
    await books.tell(submit())
    books.ledger = Ledger(books.store, books.log, Policy(), clock=lambda: NOW - 60_000)
    await books.tell(AttemptStarted(command_id="s", user_id="ann", job_id="j1", attempt=1, worker_id="w"))

    job = await books.store.job("j1")
    assert job is not None
    assert (job.state, job.version) == (State.PROCESSING, 2)
    assert job.updated_at > NOW - 1


async def test_a_grant_makes_older_jobs_count_so_the_user_is_loaded_again() -> None:
    books = Books()
    await books.tell(submit())
    await books.tell(GrantCredits(command_id="g", user_id="ann", grant_id="g1", credits=5.0))
    await books.tell(CancelJob(command_id="x", user_id="ann", job_id="j1"))

    assert books.store.reads == ["account ann", "account ann"]
    (account,) = [event.account for event in books.events() if isinstance(event, AccountEvent)]
    assert account.pending == {}
    assert [grant.credits for grant in account.grants] == [5.0]


async def test_a_user_with_many_jobs_is_deleted_job_by_job_then_the_account() -> None:
    books = Books(max_active=1000, rate_limit=1000, monthly_limit_seconds=1e9)
    for number in range(205):
        await books.tell(submit(number))
    delete = DeleteUser(command_id="d", user_id="ann", issued_at=NOW)
    await books.tell(delete)

    jobs = await books.store.jobs_of("ann", limit=1000)
    assert {job.state for job in jobs} == {State.DELETED}
    assert len(jobs) == 205
    account = await books.store.account("ann")
    assert account is not None
    assert account.deleted_at == NOW
    assert books.answer(delete).outcome is Outcome.DONE


async def test_a_core_that_raises_is_a_message_that_cannot_be_processed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a corgi")

    monkeypatch.setattr(module, "decide", fail)
    books = Books()
    with pytest.raises(CannotProcess, match="the ledger could not decide: KeyError in fail") as caught:
        await books.tell(submit())
    assert "corgi" not in caught.value.reason


async def test_what_cannot_be_stored_is_a_message_that_cannot_be_processed() -> None:
    books = Books()
    broken = replace(submit(), request=GenerationRequest(prompt="\ud800", num_frames=7))
    encoded = encode(submit(), source="/tests", at=NOW)
    record = Record(encoded.topic, 0, 0, NOW, encoded.key, encoded.value, ())
    with pytest.raises(CannotProcess):
        await books.ledger.handle(broken, record, 1)


async def with_damaged_job(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the user's jobs can't be read, until ``monkeypatch.undo``."""
    await books.tell(submit(2))
    stored = await books.store.job("j2")
    with pytest.raises(DamagedDocumentError) as caught:
        from_document(Job, to_document(stored, "j2") | {"version": "a secret"})

    async def unreadable(*_: object) -> list[Job]:
        raise caught.value

    monkeypatch.setattr(books.store, "counted_jobs", unreadable)
    books.generation += 1  # the view is read anew


@pytest.mark.parametrize("name", ["submit", "usage", "block"])
async def test_a_damaged_document_is_told_to_who_waits_and_decided_once_it_is_mended(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = SetBlocked(command_id="b", user_id="ann", blocked=True, issued_at=NOW)
    commands: dict[str, AnyCommand] = {"submit": submit(), "usage": AskUsage(command_id="u", user_id="ann")}
    command = commands.get(name, block)
    books = Books()
    await with_damaged_job(books, monkeypatch)
    before = len(books.events())
    for _ in range(2):  # a redrive before the mend is as harmless
        if name == "usage":
            await books.tell(command)  # a question is answered, and no dead letter
            continue
        with pytest.raises(CannotProcess, match="Job 'j2': version: int_parsing"):
            await books.tell(command)
    said = books.events()[before:]
    assert [type(one) for one in said] == [CommandAnswered] * 2
    answer = books.answer(command)
    assert (answer.outcome, answer.code, answer.remaining) == (Outcome.SET_ASIDE, None, None)
    assert "secret" not in repr(said)
    assert await books.store.job("j1") is None
    monkeypatch.undo()
    await books.tell(command)
    await books.tell(command)
    decided = {"submit": Outcome.ADMITTED, "usage": Outcome.UNCHANGED}
    assert books.answer(command).outcome is decided.get(name, Outcome.DONE)
    if name == "submit":
        job = await books.store.job("j1")
        assert job is not None
        assert job.version == 1, "decided once, as if it came for the first time"


async def test_nobody_is_told_of_a_report_and_no_answer_is_lost_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    books = Books()
    await with_damaged_job(books, monkeypatch)
    before = len(books.events())
    with pytest.raises(CannotProcess):
        await books.tell(AttemptStarted(command_id="s", user_id="ann", job_id="j2", attempt=1, worker_id="w"))
    assert len(books.events()) == before
    books.log.failures = 1
    with pytest.raises(Unavailable):  # so the reader tries again, before it buries the record
        await books.tell(submit())
    with pytest.raises(CannotProcess):
        await books.tell(submit())
    assert books.answer(submit()).outcome is Outcome.SET_ASIDE
