"""A stored document that nobody can read: the user is told so, the log names it, and nobody learns its words."""

from typing import Any

import pytest
import structlog

from repo.core.documents import DamagedDocumentError, from_document, to_document
from schemas.accounts import Account
from tests.gateway.world import World, job

USER, JOB, SECRET = "ada", "00000000-0000-4000-8000-000000000001", "never to be seen"


def damaged() -> DamagedDocumentError:
    with pytest.raises(DamagedDocumentError) as caught:
        from_document(Account, to_document(Account(user_id=USER), USER) | {"version": SECRET})
    return caught.value


@pytest.mark.parametrize("path", ["/api/videos", f"/api/runpod/{JOB}", "/v1/videos", f"/v1/videos/video_{JOB}"])
async def test_who_asks_is_told_and_the_log_names_it(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.store.store_job(job(JOB), 0)

    async def unreadable(*_: Any, **__: Any) -> Any:
        raise damaged()

    async with world.client() as http:
        assert (await http.get("/api/usage")).status_code == 200  # the key is remembered now
        monkeypatch.setattr(world.store, "job", unreadable)
        monkeypatch.setattr(world.store, "jobs_of", unreadable)
        with structlog.testing.capture_logs() as logs:
            answer = await http.get(path)
    error = answer.json()["error"]
    code, words = (error["code"], error["message"]) if path.startswith("/v1") else (answer.json()["code"], error)
    assert (answer.status_code, code) == (500, "damaged_document")
    assert "`openv doctor`" in words
    assert SECRET not in answer.text
    (told,) = [one for one in logs if one["log_level"] == "error"]
    assert told["event"] == "document_damaged"
    assert repr(USER) in told["reason"]
    assert SECRET not in repr(logs)
