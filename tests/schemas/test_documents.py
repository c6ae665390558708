"""The job as clients see it, and documents as MongoDB stores them."""

import dataclasses

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from schemas.accounts import Account
from schemas.documents import expected_row, job_document, job_json
from schemas.ids import number_of
from schemas.jobs import Job, Output, StoredFile, is_remote_url
from schemas.lifecycle import OPENV_STATUS, State
from schemas.shape import from_json, from_plain, to_json, to_stored
from tests.schemas.anything import anything

quick = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(anything(Job))
def test_a_job_comes_back_from_the_database_and_from_clients_form(job: Job) -> None:
    assert from_plain(Job, to_stored(job)) == job
    assert from_json(Job, job_json(job)) == job
    document = job_document(job)
    assert document == orjson.loads(job_json(job))
    assert document["status"] == OPENV_STATUS[job.state]
    assert document["state"] == job.state
    assert document["id"] == number_of(job.job_id, job.created_at)
    assert (document["jobId"], document["userId"], document["prompt"]) == (job.job_id, job.user_id, job.request.prompt)
    assert document["createdAt"].endswith("Z")


@quick
@given(anything(Account))
def test_an_account_comes_back_with_its_pending_jobs(account: Account) -> None:
    assert from_plain(Account, to_stored(account)) == account
    assert from_json(Account, to_json(account)) == account


@pytest.mark.parametrize("frames", [None, 25])
@quick
@given(job=anything(Job))
def test_urls_are_stable_paths_and_frames_what_was_made(frames: int | None, job: Job) -> None:
    file = StoredFile(key="k", bytes=1, sha256="0", media_type="video/mp4")
    made = dataclasses.replace(job, job_id="j1", output=Output(video=file, thumbnail=file, frames=frames))
    document = job_document(made)
    assert (document["url"], document["thumbnailUrl"]) == ("/api/videos/j1/video", "/api/videos/j1/thumbnail")
    assert "posterUrl" not in document
    assert document["frames"] == (frames or job.request.num_frames)
    assert job_document(dataclasses.replace(made, output=None))["url"] is None
    remote = dataclasses.replace(made, output=Output(remote_url="https://files.example.org/a.mp4"))
    assert job_document(remote)["url"] == "/api/videos/j1/video"


COLUMNS = {
    "id": int, "jobId": str, "userId": str, "prompt": str, "status": str, "createdAt": str, "updatedAt": str,
    "modelName": str, "frames": int, "url": str | None, "error": str | None, "retryCount": int, "negativePrompt": str,
    "width": int, "height": int, "seed": int, "steps": int, "cfg": float,
}  # fmt: skip


@quick
@given(anything(Job))
def test_every_column_of_openvs_table_is_there_whatever_the_job(job: Job) -> None:
    document = job_document(job)
    assert all(isinstance(document[name], kind) for name, kind in COLUMNS.items())
    assert (document["seed"], document["retryCount"]) == (job.request.seed, job.tries - 1)
    assert document["error"] == (job.failure.message if job.failure else None)
    row = expected_row(job.job_id, job.user_id, job.request, job.created_at)
    assert row.keys() == COLUMNS.keys()
    fresh = dataclasses.replace(job, state=State.QUEUED, updated_at=job.created_at, failure=None, output=None, tries=1)
    assert row == {name: job_document(fresh)[name] for name in COLUMNS}


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("https://files.example.org/a.mp4?x=1&y=%20", True),
        ("http://[::1]:9000/a", True),
        ("https://" + "a" * 2_040, True),
        ("https://" + "a" * 2_041, False),
        ("ftp://files.example.org/a", False),
        ("javascript:alert(1)", False),
        ("https:///a", False),
        ("https://a b", False),
        ("https://a\nSet-Cookie: x", False),
        ("https://a\n", False),
        ("https://ä.example.org/", False),
        ("//files.example.org/a", False),
        ("", False),
    ],
)
def test_addresses_that_are_kept_are_plain_ones(text: str, good: bool) -> None:
    assert is_remote_url(text) is good
    if good:
        assert from_plain(Output, {"remoteUrl": text}).remote_url == text
    else:
        with pytest.raises(ValidationError):
            from_plain(Output, {"remoteUrl": text})
