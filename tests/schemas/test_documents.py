"""The job as clients see it, and documents as MongoDB stores them."""

import dataclasses

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from schemas.accounts import Account
from schemas.documents import job_document, job_json
from schemas.ids import number_of
from schemas.jobs import Job, Output, StoredFile
from schemas.lifecycle import OPENV_STATUS
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
    assert "url" not in job_document(dataclasses.replace(made, output=None))
