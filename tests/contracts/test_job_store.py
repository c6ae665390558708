"""What ``JobStore`` promises, held against the memory twin and against the database."""

import asyncio
import math
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from repo.core.documents import DamagedDocumentError
from repo.memory import MemoryJobStore
from repo.mongo import MongoDatabase
from repo.mongo_jobs import MongoJobStore
from repo.ports import JobStore, Unavailable
from repo.settings import ServerSettings
from schemas.accounts import Account, Grant, Role
from schemas.failures import FailureCode
from schemas.jobs import Charge, ChargeState, Failure, Job, Output, StoredFile
from schemas.lifecycle import ACTIVE, State
from schemas.requests import GenerationRequest
from tests.repo.jobs import NOW, a_job
from tests.servers import Wire, closed_port

ODD_USERS = ("", "user_1", "a|b@c.d", "$where", "a.b", "ключ ☃ 🎬", "x" * 128, "with\0zero", "../..", '{"$gt": ""}')


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> JobStore:
    if request.param == "memory":
        return MemoryJobStore()
    found: MongoJobStore = request.getfixturevalue("job_store")
    return found


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4()}"


def a_full_job(user_id: str) -> Job:
    """Every member set, texts in many scripts, names that MongoDB gives a meaning, a large value."""
    file = StoredFile(key="u/videos/1.mp4", bytes=2**40, sha256="ab" * 32, media_type="video/mp4")
    return a_job(
        user_id,
        request=GenerationRequest(prompt="ein Corgi 🐕 \0 ☃", negative_prompt="$set", seed=2**31 - 1, input='{"a": 1}'),
        state=State.COMPLETED,
        worker_id="w",
        previous_worker_id="v",
        started_at=NOW + 1,
        finished_at=NOW + 999,
        failure=Failure(code=next(iter(FailureCode)), message="Worte"),
        output=Output(video=file, poster=file, width=848, fps=24.0, duration=0.1 + 0.2, value="v" * 500_000),
        labels={"a.b": "1", "$ref": "2", "$id": "3", "100%": "4", "%2E": "5", "": "6", "zero\0": "7", "ключ": "8"},
        webhook="https://example.org/?a=b",
    )


async def test_what_is_stored_is_read_back_whole(store: JobStore, user: str) -> None:
    for job in (a_job(user), a_full_job(user)):
        assert await store.store_job(job, 0)
        assert await store.job(job.job_id) == job
    assert await store.job(str(uuid.uuid4())) is None


async def test_instants_are_exact_to_the_millisecond(store: JobStore, user: str) -> None:
    job = a_job(user, created_at=1, updated_at=NOW + 1, due_at=253_402_300_799_999)
    await store.store_job(job, 0)
    assert await store.job(job.job_id) == job


@pytest.mark.parametrize("name", ODD_USERS)
async def test_any_user_id_is_its_own(store: JobStore, name: str) -> None:
    job, account = a_job(name), Account(user_id=name, version=1)
    await store.store_job(job, 0)
    await store.store_account(account, 0)
    assert await store.jobs_of(name) == [job]
    assert await store.counted_jobs(name, NOW, NOW) == [job]
    assert await store.account(name) == account


async def test_a_version_is_replaced_only_by_who_knew_it(store: JobStore, user: str) -> None:
    first = a_job(user)
    second, rival = replace(first, version=2, tries=2), replace(first, version=2, tries=3)
    assert await store.store_job(first, 0)
    assert not await store.store_job(replace(first, tries=9), 0)
    assert await store.store_job(second, 1)
    assert not await store.store_job(rival, 1)
    assert not await store.store_job(replace(first, version=6), 5)
    assert await store.job(first.job_id) == second


async def test_what_is_not_there_is_not_replaced(store: JobStore, user: str) -> None:
    job = a_job(user, version=3)
    assert not await store.store_job(job, 2)
    assert await store.job(job.job_id) is None


async def test_a_repeated_write_says_the_same_again(store: JobStore, user: str) -> None:
    first = a_full_job(user)
    second = replace(first, version=2, tries=2)
    assert [await store.store_job(first, 0), await store.store_job(first, 0)] == [True, True]
    assert [await store.store_job(second, 1), await store.store_job(second, 1)] == [True, True]
    assert not await store.store_job(first, 0)
    account = Account(user_id=user, version=1, pending={first.job_id: first})
    assert [await store.store_account(account, 0), await store.store_account(account, 0)] == [True, True]


async def test_a_version_must_grow(store: JobStore, user: str) -> None:
    for version, expected in ((0, 0), (1, 1), (1, 2)):
        with pytest.raises(ValueError, match="does not come after"):
            await store.store_job(a_job(user, version=version), expected)


async def test_of_fifty_writers_one_wins_each_version(store: JobStore, user: str) -> None:
    job_id = str(uuid.uuid4())
    for version in (1, 2, 3):
        rivals = [a_job(user, job_id=job_id, version=version, tries=tries) for tries in range(50)]
        won = await asyncio.gather(*(store.store_job(rival, version - 1) for rival in rivals))
        assert won.count(True) == 1
        assert await store.job(job_id) == rivals[won.index(True)]


async def test_of_fifty_admissions_one_is_stored(store: JobStore, user: str) -> None:
    jobs = [a_job(user) for _ in range(50)]
    rivals = [Account(user_id=user, version=1, pending={job.job_id: job}) for job in jobs]
    won = await asyncio.gather(*(store.store_account(rival, 0) for rival in rivals))
    assert won.count(True) == 1
    assert await store.account(user) == rivals[won.index(True)]


async def test_settling_never_goes_back(store: JobStore, user: str) -> None:
    first = a_job(user)
    newest, older = replace(first, version=5, tries=5), replace(first, version=3, tries=3)
    for job, expected in ((first, first), (first, first), (newest, newest), (older, newest), (first, newest)):
        assert await store.settle_job(job) == (job == expected)
        assert await store.job(first.job_id) == expected
    await asyncio.gather(*(store.settle_job(replace(first, version=version)) for version in range(6, 40)))
    stored = await store.job(first.job_id)
    assert stored is not None
    assert stored.version == 39


async def test_a_settled_version_that_is_the_same_stays_as_it_is(store: JobStore, user: str) -> None:
    job = a_job(user)
    await store.store_job(job, 0)
    assert not await store.settle_job(replace(job, tries=7))
    assert await store.job(job.job_id) == job


async def test_lists_are_a_users_own_newest_first(store: JobStore, user: str) -> None:
    jobs = [a_job(user, created_at=NOW + number % 4, job_id=f"{number:04}-{user}") for number in range(12)]
    for job in jobs:
        await store.store_job(job, 0)
    await store.store_job(a_job(f"{user}-another"), 0)
    expected = sorted(jobs, key=lambda job: (job.created_at, job.job_id), reverse=True)
    assert await store.jobs_of(user) == expected
    assert await store.jobs_of(user, limit=5) == expected[:5]
    assert await store.jobs_of(user, limit=0) == []
    assert await store.jobs_of(f"{user}-nobody") == []


async def test_pages_cover_everything_once(store: JobStore, user: str) -> None:
    for number in range(23):
        await store.store_job(a_job(user, created_at=NOW + number // 5), 0)
    seen: list[Job] = []
    before: tuple[int, str] | None = None
    while page := await store.jobs_of(user, before=before, limit=4):
        seen += page
        before = page[-1].created_at, page[-1].job_id
    assert seen == await store.jobs_of(user, limit=1000)
    assert len(seen) == 23
    turned: list[Job] = []
    before = None
    while page := await store.jobs_of(user, before=before, oldest_first=True, limit=4):
        turned += page
        before = page[-1].created_at, page[-1].job_id
    assert turned == seen[::-1]


async def test_lists_tell_videos_from_what_external_workers_run(store: JobStore, user: str) -> None:
    video, other = a_job(user), a_job(user, created_at=NOW + 1, external=True)
    for job in (video, other):
        await store.store_job(job, 0)
    assert await store.jobs_of(user) == [other, video]
    assert await store.jobs_of(user, external=False) == [video]
    assert await store.jobs_of(user, external=True) == [other]
    assert await store.jobs_of(user, external=False, states=ACTIVE, before=(NOW + 1, other.job_id)) == [video]


async def test_operators_find_anybodys_jobs_newest_first(store: JobStore, user: str) -> None:
    pool, other = f"pool-{user}", f"{user}-other"
    failed = Failure(code=FailureCode.OUT_OF_MEMORY, message="")
    jobs = [
        a_job(user, pool=pool, created_at=NOW + 5),
        a_job(other, pool=pool, created_at=NOW + 4, endpoint="e-1", external=True),
        a_job(user, pool=pool, created_at=NOW + 3, state=State.FAILED, failure=failed),
        a_job(
            other,
            pool=pool,
            created_at=NOW + 2,
            state=State.FAILED,
            failure=replace(failed, code=FailureCode.CANCELLED),
        ),
        a_job(user, pool=pool, created_at=NOW + 1, state=State.COMPLETED),
    ]
    for job in (*jobs, a_job(user, created_at=NOW + 9)):
        await store.store_job(job, 0)
    assert await store.find_jobs(pool=pool) == jobs
    assert await store.find_jobs(pool=pool, limit=2) == jobs[:2]
    assert await store.find_jobs(pool=pool, limit=0) == []
    assert await store.find_jobs(pool=pool, user_id=user) == [jobs[0], jobs[2], jobs[4]]
    assert await store.find_jobs(pool=pool, states=ACTIVE) == jobs[:2]
    assert await store.find_jobs(pool=pool, states=[]) == []
    assert await store.find_jobs(pool=pool, endpoint_id="e-1") == [jobs[1]]
    assert await store.find_jobs(pool=pool, failed_with=FailureCode.OUT_OF_MEMORY) == [jobs[2]]
    assert await store.find_jobs(pool=pool, created_since=NOW + 3) == jobs[:3]
    last = (NOW + 4, jobs[1].job_id)
    assert await store.find_jobs(pool=pool, before=last) == jobs[2:]
    assert await store.find_jobs(pool=pool, before=last, created_since=NOW + 2) == jobs[2:4]
    assert await store.user_counts(user) == {State.QUEUED: 2, State.FAILED: 1, State.COMPLETED: 1}
    assert await store.user_counts(f"{user}-nobody") == {}
    everything = await store.find_jobs(limit=1000)
    assert [job for job in everything if job.pool == pool] == jobs


async def test_accounts_are_listed_by_id_and_paged(store: JobStore, user: str) -> None:
    names = [f"{user}-{letter}" for letter in "abcde"]
    stored = [
        Account(user_id=names[0], version=1),
        Account(user_id=names[1], version=1, role=Role.ADMIN),
        Account(user_id=names[2], version=1, blocked=True),
        Account(user_id=names[3], version=1, deleted_at=NOW),
        Account(user_id=names[4], version=1, role=Role.ADMIN, blocked=True),
    ]
    for account in reversed(stored):
        await store.store_account(account, 0)

    async def listed(**given: Any) -> list[Account]:
        found = await store.accounts(**{"after": user, "limit": 1000} | given)
        return [one for one in found.accounts if one.user_id.startswith(user)]

    assert await listed() == stored
    assert await listed(limit=2) == stored[:2]
    assert await listed(limit=0) == []
    assert await listed(after=names[2]) == stored[3:]
    assert await listed(role=Role.ADMIN) == [stored[1], stored[4]]
    assert await listed(blocked=True) == [stored[2], stored[4]]
    assert await listed(blocked=False, deleted=False) == stored[:2]
    assert await listed(deleted=True) == [stored[3]]
    everything = await store.accounts(limit=100_000)
    assert [one for one in everything.accounts if one in stored] == stored
    assert (everything.last, everything.damaged) == (None, ())
    assert (await store.accounts(after=user, limit=2)).last == names[1]


async def test_updated_since_is_strict_and_narrows_with_states(store: JobStore, user: str) -> None:
    old, same, new = (a_job(user, updated_at=NOW + number, created_at=NOW - number) for number in (-1, 0, 1))
    done = a_job(user, updated_at=NOW + 2, created_at=NOW - 2, state=State.COMPLETED)
    for job in (old, same, new, done):
        await store.store_job(job, 0)
    assert await store.jobs_of(user, updated_since=NOW) == [new, done]
    assert await store.jobs_of(user, updated_since=NOW, states=ACTIVE) == [new]
    assert await store.jobs_of(user, states=[State.COMPLETED]) == [done]
    assert await store.jobs_of(user, states=[]) == []
    assert await store.jobs_of(user, updated_since=NOW + 2) == []
    assert len(await store.jobs_of(user, updated_since=-(10**18))) == 4
    assert await store.jobs_of(user, updated_since=10**18) == []


async def test_counted_are_the_active_and_those_charged_since(store: JobStore, user: str) -> None:
    def charged(at: int, state: State) -> Job:
        return a_job(user, state=state, charge=Charge(state=ChargeState.CAPTURED, seconds=1, reserved_at=at))

    long_active = [charged(NOW - 10**9, state) for state in ACTIVE]
    long_over = [charged(NOW - 1, state) for state in State if state not in ACTIVE]
    recent = [charged(NOW, state) for state in State]
    for job in (*long_active, *long_over, *recent, a_job(f"{user}-another")):
        await store.store_job(job, 0)
    found = await store.counted_jobs(user, NOW, NOW + 1)
    assert {job.job_id for job in found} == {job.job_id for job in (*long_active, *recent)}
    assert len(found) == len(long_active) + len(recent)


@pytest.mark.parametrize(
    ("charge", "asked", "counted"),
    [
        (Charge(state=ChargeState.CAPTURED, seconds=0, reserved_at=NOW), NOW + 1, False),
        (Charge(state=ChargeState.CAPTURED, seconds=0, reserved_at=NOW), NOW, True),
        (Charge(state=ChargeState.REFUNDED, seconds=0, reserved_at=NOW), NOW, True),
        (Charge(state=ChargeState.CAPTURED, seconds=0, credits=0.5, reserved_at=NOW), NOW + 1, True),
        (Charge(state=ChargeState.CAPTURED, seconds=0, credits=0.5, reserved_at=NOW - 1), NOW + 1, False),
        (Charge(state=ChargeState.NONE, seconds=2, credits=2, reserved_at=NOW), NOW, False),
    ],
)
async def test_what_cost_nothing_counts_only_for_having_been_asked_for(
    store: JobStore, user: str, charge: Charge, asked: int, counted: bool
) -> None:
    job = a_job(user, state=State.FAILED, charge=charge)
    await store.store_job(job, 0)
    assert await store.counted_jobs(user, NOW, asked) == [job] * counted


async def test_the_last_change_is_the_newest_of_all_the_users_jobs(store: JobStore, user: str) -> None:
    assert await store.last_change(user) == 0
    for at in (NOW + 3, NOW + 9, NOW + 5):
        await store.store_job(a_job(user, updated_at=at, state=State.DELETED), 0)
    await store.store_job(a_job(f"{user}-another", updated_at=NOW + 99), 0)
    assert await store.last_change(user) == NOW + 9


async def test_pools_and_their_active_jobs(store: JobStore, user: str) -> None:
    pool, empty = f"pool.{user}", f"empty.{user}"
    jobs = [a_job(user, pool=pool, state=state, created_at=NOW + number) for number, state in enumerate(State)]
    for job in (*jobs, a_job(user, pool=empty, state=State.FAILED)):
        await store.store_job(job, 0)
    assert await store.active_jobs(pool) == [job for job in jobs if job.state in ACTIVE]
    assert await store.active_jobs(empty) == []
    pools = await store.active_pools()
    assert pool in pools
    assert empty not in pools
    assert pools == sorted(set(pools))


async def test_accounts_carry_grants_and_pending_jobs(store: JobStore, user: str) -> None:
    job = a_full_job(user)
    account = Account(
        user_id=user,
        version=1,
        role=Role.ADMIN,
        grants=(Grant(grant_id="g", credits=-1.5, granted_at=NOW), Grant(grant_id="h", credits=2, granted_at=NOW)),
        pending={job.job_id: job, "an.odd$id": a_job(user)},
        deleted_at=NOW,
    )
    assert await store.account(user) is None
    assert await store.store_account(account, 0)
    assert await store.account(user) == account
    cleared = replace(account, version=2, pending={})
    assert await store.store_account(cleared, 1)
    assert not await store.store_account(replace(account, version=2), 1)
    assert await store.account(user) == cleared


async def test_what_could_not_be_read_again_is_not_stored(store: JobStore, user: str) -> None:
    good = a_job(user)
    await store.store_job(good, 0)
    bad: list[Job] = [
        replace(good, version=2, charge=replace(good.charge, seconds=math.nan)),
        replace(good, version=2, charge=replace(good.charge, credits=math.inf)),
        replace(good, version=2, origin="\ud800"),
        replace(good, version=2, priority=2**70),
        replace(good, version=2, due_at=10**18),
    ]
    for job in bad:
        with pytest.raises(ValueError, match="can't be stored"):
            await store.store_job(job, 1)
        with pytest.raises(ValueError, match="can't be stored"):
            await store.settle_job(job)
    assert await store.job(good.job_id) == good


async def test_errors_do_not_quote_a_prompt(store: JobStore, user: str) -> None:
    job = a_job(user, request=GenerationRequest(prompt="a secret wish", cfg=math.nan))
    with pytest.raises(ValueError, match="cfg") as caught:
        await store.store_job(job, 0)
    assert "secret wish" not in str(caught.value)


async def test_applied_offsets_never_move_back_until_forgotten(store: JobStore, user: str) -> None:
    assert await store.applied_offsets(user) == {}
    await asyncio.gather(*(store.store_applied_offsets(user, {0: offset}) for offset in range(40)))
    await store.store_applied_offsets(user, {0: 7})
    await asyncio.gather(*(store.store_applied_offsets(user, {11: 0, 0: 12}) for _ in range(8)))
    await store.store_applied_offsets(user, {})
    await store.store_applied_offsets(f"{user}-another", {0: 99})
    assert await store.applied_offsets(user) == {0: 39, 11: 0}
    await store.reset_applied_offset(user, 0)
    await store.reset_applied_offset(user, 5)
    assert await store.applied_offsets(user) == {11: 0}
    await store.store_applied_offsets(user, {0: 3})
    assert await store.applied_offsets(user) == {0: 3, 11: 0}


async def test_ping_is_content(store: JobStore) -> None:
    await store.ping()


async def test_memory_fails_when_told_to() -> None:
    store = MemoryJobStore()
    job = a_job("u")
    await store.store_job(job, 0)
    store.away = True
    for call in (store.job("x"), store.store_job(job, 0), store.jobs_of("u"), store.account("u"), store.ping()):
        with pytest.raises(Unavailable, match="mongodb"):
            await call
    store.away = False
    assert await store.job(job.job_id) == job


@pytest.mark.servers
async def test_an_absent_database_is_said_in_bounded_time(settings: ServerSettings) -> None:
    away = settings.model_copy(update={"mongodb_uri": f"mongodb://127.0.0.1:{closed_port()}/?directConnection=true"})
    async with asyncio.timeout(30), MongoDatabase(away) as database:
        store = database.jobs
        with pytest.raises(Unavailable, match="mongodb"):
            await store.ping()
        with pytest.raises(Unavailable, match="mongodb"):
            await store.store_job(a_job("u"), 0)


def through(settings: ServerSettings, port: int) -> ServerSettings:
    return settings.model_copy(update={"mongodb_uri": f"mongodb://127.0.0.1:{port}/?directConnection=true"})


@pytest.mark.servers
async def test_the_store_works_again_when_the_database_does(settings: ServerSettings) -> None:
    target = urlsplit(settings.mongodb_uri)
    async with (
        asyncio.timeout(60),
        Wire(target.hostname or "", target.port or 0) as wire,
        MongoDatabase(through(settings, wire.port)) as database,
    ):
        store = database.jobs
        first, second = a_job("u"), a_job("u")
        assert await store.store_job(first, 0)
        await wire.cut()
        with pytest.raises(Unavailable):
            await store.store_job(second, 0)
        await wire.mend()
        assert await store.store_job(second, 0)
        wire.hang_up()  # as after a restart of the server: every pooled connection is dead, yet nobody need notice
        assert await store.job(first.job_id) == first


@pytest.mark.servers
async def test_a_write_whose_answer_was_lost_may_be_repeated(
    settings: ServerSettings, job_store: MongoJobStore
) -> None:
    target = urlsplit(settings.mongodb_uri)
    async with (
        asyncio.timeout(60),
        Wire(target.hostname or "", target.port or 0) as wire,
        MongoDatabase(through(settings, wire.port)) as database,
    ):
        store = database.jobs
        job = a_full_job("u")
        await store.ping()
        wire.answers = False
        with pytest.raises(Unavailable):
            await store.store_job(job, 0)
        assert await job_store.job(job.job_id) == job, "the request went through, its answer did not"
        wire.answers = True
        assert await store.store_job(job, 0)


@pytest.mark.servers
async def test_a_damaged_document_is_named_without_its_values(
    settings: ServerSettings, job_store: MongoJobStore, user: str
) -> None:
    job = a_job(user)
    await job_store.store_job(job, 0)
    client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(settings.mongodb_uri, retryWrites=False)
    try:
        jobs = client[settings.mongodb_database]["jobs"]
        await jobs.update_one({"_id": job.job_id}, {"$set": {"state": "a secret", "request.steps": "many"}})
    finally:
        client.close()
    for call in (job_store.job(job.job_id), job_store.jobs_of(user)):
        with pytest.raises(DamagedDocumentError, match=job.job_id) as caught:
            await call
        assert "steps" in str(caught.value)
        assert "a secret" not in str(caught.value)
