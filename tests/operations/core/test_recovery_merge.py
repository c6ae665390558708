"""The newest announced form of each document, whatever the headers of its records say."""

import random
from dataclasses import replace

import pytest

from operations.core import recovery_merge
from operations.core.recovery_merge import differing, newest
from schemas.codec import Message, Record, encode
from schemas.events import AccountEvent, JobEvent
from tests.operations.recovery.rig import THEN, a_job, an_account


def records(*events: Message) -> list[Record]:
    made = [encode(event, source="/test", at=THEN) for event in events]
    return [Record(one.topic, 0, at, THEN, one.key, one.value, one.headers) for at, one in enumerate(made)]


def named(record: Record, record_id: str | None) -> Record:
    """With another id, or none."""
    headers = tuple(one for one in record.headers if one[0] != "ce_id")
    return replace(record, headers=headers if record_id is None else (*headers, ("ce_id", record_id.encode())))


def test_the_highest_version_of_each_is_found_in_any_order() -> None:
    jobs = [a_job(number, version) for number in range(5) for version in range(1, 12)]
    told = records(*map(JobEvent, jobs), AccountEvent(an_account("job-1", 3)), AccountEvent(an_account("job-1", 2)))
    random.Random(8).shuffle(told)
    found = newest(told)
    assert {(one.collection, one.document_id): one.version for one in found.newest} == {
        **{("jobs", f"job-{number}"): 11 for number in range(5)},
        ("accounts", "job-1"): 3,  # a user may be called like a job
    }
    assert (found.events, found.unreadable) == (57, 0)
    assert all(one.value == a_job(int(one.document_id[4:]), 11) for one in found.newest if one.collection == "jobs")


def test_a_newest_one_that_is_torn_gives_way_to_the_one_before() -> None:
    old, new = records(JobEvent(a_job(1, 2)), JobEvent(a_job(1, 3)))
    found = newest([old, replace(new, value=new.value[:-5])])
    assert [(one.version, found.unreadable) for one in found.newest] == [(2, 1)]


def test_a_version_beyond_all_measure_is_none() -> None:
    old, forged = records(JobEvent(a_job(1, 2)), JobEvent(a_job(1, 2**62, updated_at=THEN)))
    found = newest([old, forged])
    assert [(one.version, found.unreadable) for one in found.newest] == [(2, 1)]


def test_ids_that_tell_nothing_or_lies_hide_no_document() -> None:
    first, second, other = records(JobEvent(a_job(1, 2)), JobEvent(a_job(1, 5)), JobEvent(a_job(2, 9)))
    for record_id in (None, "", "job-1", "job-1:", "job-1:x", "job-1:\u00b2", f"job-1:{'9' * 5_000}"):
        (found,) = newest([first, named(second, record_id)]).newest
        assert found.version == 5, record_id
    claims = named(other, "job-1:9")  # of another job, under this one's name
    versions = {one.document_id: one.version for one in newest([first, second, claims]).newest}
    assert versions == {"job-1": 5, "job-2": 9}


def test_only_what_may_be_the_newest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    told = records(*(JobEvent(a_job(1, version)) for version in range(1, 100)))
    read: list[int] = []
    real = recovery_merge.decode

    def counting(record: Record) -> object:
        read.append(record.offset)
        return real(record)

    monkeypatch.setattr(recovery_merge, "decode", counting)
    (found,) = newest(told).newest
    assert (found.version, read) == (99, [98])


def test_a_job_that_was_decided_again_was_written_later() -> None:
    """An empty database under an old log: the same versions come out, stamped with the time of their writing."""
    told = a_job(1, 2)
    assert differing(told, replace(told, updated_at=told.updated_at + 5)) == []
    assert differing(told, replace(told, updated_at=told.updated_at - 5)) == ["updatedAt"]
    assert differing(told, replace(told, updated_at=told.updated_at + 5, attempt=told.attempt + 1)) == ["attempt"]
