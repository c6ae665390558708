"""Effects as messages: what is announced in which order, which offers fit, how words to the ledger are named."""

from dataclasses import replace
from typing import Any

import pytest

from repo.memory import MemoryEventLog
from schemas.accounts import Account
from schemas.codec import decode
from schemas.commands import AttemptHandedBack, AttemptLost, JobExpired
from schemas.dispatch import JobMoved
from schemas.events import AccountEvent, CommandAnswered, FilesDiscarded, JobEvent, Outcome
from schemas.lifecycle import State
from schemas.topics import EVENTS
from streams.core.effects import Decision, Offer, Tell
from streams.deadletters import CannotProcess
from streams.perform import announce, fits, messages_of, word_to_ledger
from tests.streams.test_pools import NOW, queued


def test_the_answer_is_said_last_and_pending_admissions_to_nobody() -> None:
    account = Account(user_id="ann", version=2, pending={"j1": queued()})
    answer = CommandAnswered(command_id="c", user_id="ann", outcome=Outcome.DONE)
    discarded = FilesDiscarded(user_id="ann", job_id="j1", attempt=1, worker_id="w")
    said = messages_of(Decision(jobs=(queued(),), account=account, discarded=(discarded,), answer=answer))

    assert [type(one) for one in said] == [JobEvent, JobMoved, AccountEvent, FilesDiscarded, CommandAnswered]
    assert isinstance(said[2], AccountEvent)
    assert said[2].account == replace(account, pending={})


async def test_announcements_carry_the_trace_and_keep_their_order() -> None:
    log = MemoryEventLog()
    said = messages_of(Decision(jobs=(queued(), queued(version=2))))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await announce(log, said, source="/openv/ledger", at=NOW, traceparent=trace)
    records = log.records(EVENTS.name)
    assert [decode(record) for record in records] == [JobEvent(queued()), JobEvent(queued(version=2))]
    assert {record.header("traceparent") for record in records} == {trace}


async def test_an_announcement_too_large_to_produce_says_how_large() -> None:
    large = replace(queued(), request=replace(queued().request, input="x" * 1_100_000))
    with pytest.raises(CannotProcess, match=r"dev\.openv\.job\.queued\.v1: 11\d{5} bytes"):
        await announce(MemoryEventLog(), messages_of(Decision(jobs=(large,))), source="/openv/ledger", at=NOW)


@pytest.mark.parametrize(
    ("changes", "fitting"),
    [
        ({}, True),
        ({"attempt": 2}, False),
        ({"state": State.PROCESSING}, False),
        ({"due_at": NOW + 1}, False),
        ({"pool": "another"}, False),
    ],
)
def test_which_documents_an_offer_fits(changes: dict[str, Any], fitting: bool) -> None:
    offer = Offer(worker_id="w", session="s", job_id="j1", attempt=1)
    assert fits(offer, queued(**changes), "mochi", NOW) is fitting


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lost", AttemptLost),
        ("handed_back", AttemptHandedBack),
        ("ttl_expired", JobExpired),
        ("execution_timeout", JobExpired),
    ],
)
def test_words_to_the_ledger_have_the_same_id_every_time(kind: str, expected: type) -> None:
    tell = Tell(kind=kind, user_id="ann", job_id="j1", run=1, attempt=2, worker_id="w", reason="silent")
    word = word_to_ledger(tell)
    assert type(word) is expected
    assert word.message_id == word_to_ledger(tell).message_id == f"j1:1:2:{kind}:w"
    assert word.message_id != word_to_ledger(replace(tell, attempt=3)).message_id
