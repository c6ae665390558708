"""Announcements: a function of the document."""

from schemas.lifecycle import State
from streams.core.announce import announcements
from tests.streams.core.ledger_documents import Documents, started, submit


def test_the_same_document_is_announced_the_same() -> None:
    documents = Documents()
    documents.do(submit())
    documents.do(started())
    event, moved = announcements(documents.job())
    assert (event, moved) == announcements(documents.job())
    assert event.job == documents.job()
    assert (event.message_id, event.type) == ("j1:2", "dev.openv.job.processing.v1")
    assert (moved.pool, moved.job_id, moved.user_id, moved.state) == ("mochi-1", "j1", "user-1", State.PROCESSING)
    assert (moved.version, moved.run, moved.attempt, moved.worker_id) == (2, 1, 1, "w1")
    assert moved.due_at == documents.job().due_at
