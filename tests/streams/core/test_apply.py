"""The view after a write, and what stays open when a writer dies between two."""

from streams.core.apply import applied, still_pending, unsettled
from streams.core.effects import Decision, UserView, WriteAccount, WriteJob
from streams.core.ledger import new_account
from tests.streams.core.ledger_documents import NOON, USER, Documents, cancel, submit


def test_nothing_written_nothing_changed() -> None:
    view = UserView(new_account(USER))
    assert applied(view, Decision()) is view


def test_writes_are_in_the_view() -> None:
    documents = Documents()
    admission = documents.decision(submit())
    view = applied(UserView(new_account(USER)), admission)
    assert isinstance(admission.write, WriteAccount)
    assert view == UserView(admission.write.account, {"j1": admission.write.job})  # type: ignore[dict-item]
    documents.write(admission)
    ending = documents.decision(cancel())
    assert isinstance(ending.write, WriteJob)
    assert applied(view, ending).jobs == {"j1": ending.write.job}
    bare = WriteAccount(new_account(USER), 0)
    assert applied(view, Decision(write=bare)) == UserView(new_account(USER), view.jobs)


def test_what_an_earlier_writer_admitted_and_did_not_store() -> None:
    documents = Documents()
    documents.write(documents.decision(submit()), settle=False)
    view = documents.view(submit(), NOON)
    (open_job,) = unsettled(view)
    assert still_pending(view) == {"j1": open_job}
    documents.settle(open_job)
    assert unsettled(documents.view(submit(), NOON)) == ()
    documents.do(cancel())
    newer = documents.view(submit(), NOON)
    assert unsettled(newer) == ()
    assert newer.overlaid()["j1"] == documents.job(), "a stale pending job does not hide the newer document"
