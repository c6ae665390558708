"""RunPod's webhook over HTTP: who may call, what is answered, and which report is recorded, if any."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import structlog
from starlette.requests import Request

from repo.clock import now_ms
from schemas.codec import decode
from schemas.commands import AttemptFailed, AttemptStarted, AttemptSucceeded
from schemas.dispatch import WEBHOOK_WORKER, RemoteMoved
from schemas.failures import FailureCode
from schemas.jobs import Job, Output
from schemas.lifecycle import ACTIVE, State
from schemas.signed_calls import Signed, signed_call
from tests.gateway.world import World, events, job, settings, started

TOKEN, SECRET = "a token", "s" * 32
OTHER_SECRET = "t" * 32
PATH = "/api/runpod/webhook"
ID = "00000000-0000-4000-8000-000000000001"
URL = "https://files.example.org/a.mp4"
DONE = {"id": ID, "status": "COMPLETED", "output": {"result": URL, "status": "DONE"}, "delayTime": 970}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A gateway that takes webhook calls."""
    async with started(settings(webhook_token=TOKEN, webhook_secret=f"{SECRET}, {OTHER_SECRET}")) as made:
        yield made


async def call(world: World, body: Any = None, *, path: str = f"{PATH}?token=a%20token", **sent: Any) -> httpx.Response:
    async with world.client(None) as http:
        return await http.post(path, **({"json": body} if body is not None else sent))


def signed(job_id: str = ID, attempt: int = 1, *, secret: str = SECRET, for_s: int = 60) -> str:
    return signed_call(secret, Signed(job_id, attempt), now_ms() // 1000 + for_s)


def untouched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing may read a body or look into a store."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("touched")

    monkeypatch.setattr(Request, "stream", never)
    monkeypatch.setattr(type(world.store), "job", never)
    monkeypatch.setattr(type(world.log), "append", never)


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}?token=",
        f"{PATH}?token=wrong",
        f"{PATH}?token=a%20toke",
        f"{PATH}?token=wrong&token=a%20token",
        f"{PATH}?Token=a%20token",
        f"{PATH}?token=%ff%00",
        f"{PATH}?token=a%20token&signature=00",
        f"{PATH}?job={ID}&attempt=1&expires=99999999999&signature={'0' * 64}",
        f"{PATH}?signature=",
    ],
)
async def test_forged_calls_cost_nothing(world: World, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    untouched(world, monkeypatch)
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            answer = await call(world, path=path, content=b"x" * 10_000)
            assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    assert {line["log_level"] for line in logs} <= {"info"}
    assert not any("token" in str(line) for line in logs)


async def test_without_a_token_of_its_own_a_gateway_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with started() as plain:
        untouched(plain, monkeypatch)
        for path in (PATH, f"{PATH}?token=", f"{PATH}?token=None", signed(secret="")):
            assert (await call(plain, DONE, path=path)).status_code == 401


async def test_signatures_are_good_for_every_secret_until_they_expire(world: World) -> None:
    await world.store.store_job(job(ID), 0)
    assert (await call(world, DONE, path=signed())).status_code == 200
    assert (await call(world, DONE, path=signed(secret=OTHER_SECRET))).status_code == 200
    assert (await call(world, DONE, path=signed(secret="u" * 32))).status_code == 401
    assert (await call(world, DONE, path=signed(for_s=0))).status_code == 401


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "Invalid request body"),
        (b"not json", "Invalid request body"),
        (b"[]", "Invalid request body"),
        (b"null", "Invalid request body"),
        (b"\xff", "Invalid request body"),
        (b"[" * 100_000, "Invalid request body"),
        (b'{"id":' * 2_000, "Invalid request body"),
        (b"{}", "Job ID is required"),
        (b'{"id":7,"status":"DONE"}', "Job ID is required"),
        (b'{"id":"x"}', "Invalid status"),
        (b'{"id":"x","status":{}}', "Invalid status"),
        (b'{"id":"x","status":"INVALID_STATUS"}', "Invalid status"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_calls_that_can_not_be_read(world: World, content: bytes, error: str) -> None:
    answer = await call(world, content=content)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


async def test_a_huge_body_is_not_read_to_its_end(world: World) -> None:
    assert (await call(world, content=b" " * 300_000)).status_code == 413


@pytest.mark.parametrize("job_id", ["nothing", ID, "../x", "x" * 4_000, "\ud7ff\n"])
async def test_a_job_that_is_not_there(world: World, job_id: str) -> None:
    await world.store.store_job(job("00000000-0000-4000-8000-000000000002"), 0)
    answer = await call(world, {**DONE, "id": job_id})
    assert (answer.status_code, answer.json()) == (404, {"error": f"Video not found with jobId: {job_id[:128]}"})
    if job_id == ID:
        answer = await call(world, DONE, path=signed())
        assert answer.json() == {"error": f"Video not found with jobId: {ID}"}


@pytest.mark.parametrize("state", [state for state in State if state not in ACTIVE])
@pytest.mark.parametrize("path", [lambda: f"{PATH}?token=a%20token", signed], ids=["token", "signed"])
async def test_late_and_contradictory_calls_move_no_job_that_has_ended(
    world: World, state: State, path: Callable[[], str]
) -> None:
    await world.store.store_job(job(ID, state=state), 0)
    before = events(world.log)
    hidden = state in {State.REJECTED, State.DELETED}
    for status in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"):
        answer = await call(world, {**DONE, "status": status}, path=path())
        assert (answer.status_code, "success" in answer.json()) == ((404, False) if hidden else (200, True))
    assert (world.ledger.heard, events(world.log)) == ([], before)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ({"status": "IN_QUEUE"}, None, {}),
        ({"status": "in_progress"}, AttemptStarted, {}),
        ({}, AttemptSucceeded, {}),
        ({"status": "FAILED", "error": "timeout"}, AttemptFailed, {"code": FailureCode.TRANSIENT_ERROR}),
        ({"status": "TIMED_OUT"}, AttemptFailed, {"code": FailureCode.ENGINE_ERROR}),
        ({"output": {"result": "FAILED: 503"}}, AttemptFailed, {"code": FailureCode.TRANSIENT_ERROR}),
        ({"output": {"status": "ERROR", "error": "no"}}, AttemptFailed, {"message": "no"}),
        ({"output": {"result": "ftp://x/y"}}, AttemptFailed, {"code": FailureCode.ENGINE_ERROR}),
    ],
)
async def test_a_call_is_recorded_before_it_is_answered(
    world: World, body: dict[str, Any], kind: Any, says: dict[str, Any]
) -> None:
    await world.store.store_job(job(ID), 0)
    answer = await call(world, {**DONE, **body})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    heard = await heard_of(world)
    if kind is None:
        assert heard == []
        return
    (report,) = heard
    assert isinstance(report, kind)
    assert (report.user_id, report.job_id, report.attempt, report.worker_id) == ("ada", ID, 1, WEBHOOK_WORKER)
    assert {name: getattr(report, name) for name in says} == says


async def heard_of(world: World) -> list[Any]:
    """The reports up to now: the log is read in order, so whatever a question comes after has been read."""
    async with world.client() as http:
        assert (await http.get("/api/usage")).status_code == 200
    return [one for one in world.ledger.heard if isinstance(one, AttemptStarted | AttemptSucceeded | AttemptFailed)]


async def test_a_signed_call_is_about_the_signed_job_whatever_runpod_calls_it(world: World) -> None:
    await world.store.store_job(job(ID, attempt=2), 0)
    for path in (signed(attempt=2), signed(attempt=1), signed(attempt=7)):
        answer = await call(world, {**DONE, "id": "sync-4711-e1", "status": "FAILED"}, path=path)
        assert answer.json() == {"success": True}
    (report,) = await heard_of(world)
    assert (report.job_id, report.attempt) == (ID, 2)


async def test_a_failure_told_again_does_not_use_up_the_next_try(world: World) -> None:
    await world.store.store_job(job(ID, attempt=2, due_at=now_ms() + 60_000), 0)
    assert (await call(world, {**DONE, "status": "FAILED"})).json() == {"success": True}
    assert await heard_of(world) == []
    assert (await call(world, DONE)).json() == {"success": True}
    (report,) = await heard_of(world)
    assert isinstance(report, AttemptSucceeded)


async def test_what_can_not_be_recorded_is_not_acknowledged(world: World) -> None:
    await world.store.store_job(job(ID), 0)
    with world.kafka_away():
        assert (await call(world, DONE)).status_code == 503
    world.store.away = True
    assert (await call(world, DONE)).status_code == 503
    world.store.away = False
    real = world.log.append

    async def hangs(*given: Any, **named: Any) -> Any:
        await real(*given, **named)
        raise TimeoutError

    world.log.append = hangs  # type: ignore[method-assign]
    answer = await call(world, DONE)
    assert (answer.status_code, answer.json()["missing"]) == (503, ["kafka"])
    assert "retry-after" in answer.headers


async def test_a_flood_about_one_job_is_shed_and_others_go_on() -> None:
    limits = settings(webhook_token=TOKEN, webhook_requests=3, shed_window_seconds=60)
    async with started(limits) as world:
        await world.store.store_job(job(ID), 0)
        answers = [await call(world, DONE) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        other = "00000000-0000-4000-8000-000000000002"
        await world.store.store_job(job(other), 0)
        assert (await call(world, {**DONE, "id": other})).status_code == 200
        assert len(await heard_of(world)) == 4


async def test_a_video_that_is_kept_elsewhere_is_redirected_to(world: World) -> None:
    await world.store.store_job(job(ID, state=State.COMPLETED, output=Output(remote_url=URL)), 0)
    async with world.client() as http:
        (row,) = (await http.get("/api/videos")).json()
        for method in ("GET", "HEAD"):
            answer = await http.request(method, row["url"])
            assert (answer.status_code, answer.headers["location"]) == (307, URL)
        assert (await http.get(f"/api/videos/{ID}/poster")).status_code == 404
    async with world.client("bob") as http:
        assert (await http.get(row["url"])).status_code == 404


def for_worker(attempt: int = 1, *, worker_id: str = "engine.1", job_id: str = ID) -> str:
    return signed_call(SECRET, Signed(job_id, attempt, worker_id), now_ms() // 1000 + 60)


def woken(world: World) -> list[RemoteMoved]:
    records = [decode(record) for record in world.log.records("openv.assignments")]
    return [one for one in records if isinstance(one, RemoteMoved)]


async def test_a_call_for_a_worker_wakes_the_one_that_has_the_job_and_reports_nothing(world: World) -> None:
    await world.store.store_job(job(ID, state=State.PROCESSING, worker_id="engine.2", attempt=2), 0)
    before = world.log.records("openv.commands")
    for body in ({**DONE, "id": "there-1-e1"}, {"status": "?"}, {"id": "no such/id"}, []):
        assert (await call(world, body, path=for_worker())).json() == {"success": True}
    assert {(one.worker_id, one.job_id, one.attempt) for one in woken(world)} == {("engine.2", ID, 2)}
    assert [one.remote_id for one in woken(world)] == ["there-1-e1", None, None, None]
    assert {one.signed_attempt for one in woken(world)} == {1}, "whose submission it was, not who has the job now"
    assert world.log.records("openv.commands") == before


async def test_while_nobody_has_the_job_a_call_wakes_who_began_it(world: World) -> None:
    await world.store.store_job(job(ID), 0)
    assert (await call(world, DONE, path=for_worker())).status_code == 200
    assert [one.worker_id for one in woken(world)] == ["engine.1"]


@pytest.mark.parametrize(
    "made", [None, job(ID, state=State.COMPLETED), job(ID, state=State.QUEUED, attempt=4, run=2, run_first_attempt=3)]
)
async def test_nobody_is_woken_for_what_has_ended(world: World, made: Job | None) -> None:
    if made:
        await world.store.store_job(made, 0)
    assert (await call(world, DONE, path=for_worker())).json() == {"success": True}
    assert woken(world) == []


async def test_a_workers_address_is_good_for_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = for_worker()
    untouched(world, monkeypatch)
    for forged in (
        path.replace("&worker=engine.1", ""),
        path.replace("worker=engine.1", "worker=engine.2"),
        path.replace("worker=engine.1", "worker="),
        path.replace("attempt=1", "attempt=2"),
        signed() + "&worker=engine.1",
    ):
        assert forged != path
        assert (await call(world, DONE, path=forged)).status_code == 401
