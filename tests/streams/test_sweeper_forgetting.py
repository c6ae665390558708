"""What has had its time goes, what may not go stays, and no replay of a kept log makes work of it."""

import random
from dataclasses import replace
from typing import Any

import pytest

from repo.core.object_keys import file_key, input_key
from repo.memory import MemoryDatabase, MemoryEventLog, MemoryObjectStore
from repo.stores import ObjectStores
from schemas.access import ApiKey, KeyKind
from schemas.accounts import Account, Grant, Role
from schemas.codec import Record, decode
from schemas.commands import AskUsage, DeleteJob, RetryJob, SubmitJob
from schemas.jobs import Charge, ChargeState, Job
from schemas.lifecycle import ACTIVE, State
from schemas.requests import GenerationRequest
from schemas.topics import COMMANDS, DAY
from streams.board import Board
from streams.core.forgetting import LEAST_DAYS, LEAST_MS, RECORD_LIVES_MS, RENEWED_AFTER_MS, counts_still
from streams.core.policy import Policy
from streams.forgetting import REST_MS, STEP, Forgetting, Sweep
from streams.ledger import Ledger
from streams.patience import Patience
from streams.settings import Role as StreamsRole
from streams.settings import StreamsSettings
from streams.vitals import new_vitals
from tests.streams.submissions import send

NOW = 1_790_000_000_000
KEPT = StreamsSettings(
    openv_retention_video_days=90,
    openv_retention_tombstone_days=60,
    openv_retention_rejected_days=LEAST_DAYS,
    openv_retention_upload_days=LEAST_DAYS,
    openv_retention_key_days=7,
)


class Deployment:
    """A database, stores and a log, of which any number of processes walk through everything."""

    def __init__(self, settings: StreamsSettings = KEPT) -> None:
        self.now = NOW
        self.settings = settings
        self.database = MemoryDatabase()
        self.objects = MemoryObjectStore()
        self.second = MemoryObjectStore("s3_fallback")
        self.objects.clock = self.second.clock = lambda: self.now
        self.log = MemoryEventLog(clock=lambda: self.now)
        self.board = Board(new_vitals((StreamsRole.JANITOR,)), ready=lambda _: None, waiting=lambda _: None)
        self.walker = self.another()

    def another(self, **aged: Sweep) -> Forgetting:
        patience = Patience(StreamsRole.JANITOR, self.board)
        stores = ObjectStores(self.objects, self.second)
        jobs, upkeep = self.database.jobs, self.database.upkeep
        kept = self.settings.kept()
        return Forgetting(jobs, upkeep, stores, self.log, patience, lambda: self.now, kept, aged)

    async def walk(self, walker: Forgetting | None = None) -> int:
        """A whole walk; in how many steps."""
        steps = 1
        while await (walker or self.walker).step():
            steps += 1
        self.now += REST_MS
        return steps

    async def job(self, job_id: str = "j1", **changes: Any) -> Job:
        base = Job(
            job_id=job_id,
            user_id="ann",
            pool="mochi-1",
            state=State.DELETED,
            version=2,
            request=GenerationRequest(prompt="", num_frames=7),
            request_hash="hash",
            charge=Charge(state=ChargeState.REFUNDED, seconds=1.0, reserved_at=NOW - 900 * DAY),
            created_at=NOW - 900 * DAY,
            updated_at=NOW - 60 * DAY,
            due_at=1,
            expires_at=2,
            execution_timeout_ms=1,
            finished_at=NOW - 90 * DAY,
        )
        made = replace(base, **changes)
        assert await self.database.jobs.store_job(made, 0)
        return made

    async def is_there(self, job_id: str = "j1") -> bool:
        return await self.database.jobs.job(job_id) is not None

    async def records(self) -> list[Record]:
        every = [await self.log.read(COMMANDS.name, at, 0, 100_000) for at in range(COMMANDS.partitions)]
        return [record for of_one in every for record in of_one]

    async def deletions(self) -> list[DeleteJob]:
        return [one for record in await self.records() if isinstance(one := decode(record), DeleteJob)]

    async def decide(self, records: list[Record], *, policy: Policy | None = None) -> None:
        """What a ledger that has just begun makes of them."""
        ledger = Ledger(self.database.jobs, self.log, policy or Policy(), clock=lambda: self.now)
        for record in records:
            await ledger.handle(decode(record), record, 1)  # type: ignore[arg-type]


@pytest.fixture
def kept() -> Deployment:
    return Deployment()


ENDED = (State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT)


@pytest.mark.parametrize("state", ENDED)
async def test_an_old_video_is_deleted_as_its_user_would(kept: Deployment, state: State) -> None:
    await kept.job("old", state=state)
    await kept.job("young", state=state, finished_at=NOW - 90 * DAY + 1)
    await kept.job("foreign", state=state, external=True, endpoint="echo")
    await kept.walk()
    assert [(one.job_id, one.ended_by) for one in await kept.deletions()] == [("old", NOW - 90 * DAY)]
    await kept.decide(await kept.records())
    job = await kept.database.jobs.job("old")
    assert job is not None
    assert job.state is State.DELETED


async def test_videos_are_kept_for_ever_unless_somebody_says_otherwise() -> None:
    kept = Deployment(StreamsSettings())
    for state in ENDED:
        await kept.job(f"v-{state}", state=state)
    await kept.walk()
    assert await kept.deletions() == []


async def test_what_goes_on_is_left_alone(kept: Deployment) -> None:
    for state in ACTIVE:
        await kept.job(f"a-{state}", state=state, finished_at=None, updated_at=1)
    await kept.walk()
    assert await kept.deletions() == []
    assert [await kept.is_there(f"a-{state}") for state in ACTIVE] == [True] * len(ACTIVE)


async def test_bare_documents_go_when_their_time_is_over(kept: Deployment) -> None:
    await kept.job("old")
    await kept.job("young", updated_at=NOW - 60 * DAY + 1)
    await kept.job("refused", state=State.REJECTED, updated_at=NOW - LEAST_MS)
    await kept.job("refused-late", state=State.REJECTED, updated_at=NOW - LEAST_MS + 1)
    await kept.job("refused-there", state=State.REJECTED, updated_at=1, endpoint="echo")  # its input goes first
    await kept.walk()
    there = {one: await kept.is_there(one) for one in ("old", "young", "refused", "refused-late", "refused-there")}
    assert there == {"old": False, "young": True, "refused": False, "refused-late": True, "refused-there": True}


def _charged(seconds: float, paid: float, at: int, state: ChargeState = ChargeState.CAPTURED) -> Charge:
    return Charge(state=state, seconds=seconds, credits=paid, reserved_at=at)


@pytest.mark.parametrize(
    ("charge", "stays"),
    [
        (_charged(9.0, 0.0, NOW - 900 * DAY), False),  # of a period that is long over
        (_charged(9.0, 0.0, NOW - 50 * DAY), True),
        (_charged(9.0, 0.0, NOW - 50 * DAY, ChargeState.REFUNDED), False),
        (_charged(0.0, 1.0, NOW - 900 * DAY), True),  # credits are a sum over all that was ever spent
        (_charged(0.0, 1.0, NOW - 900 * DAY, ChargeState.REFUNDED), False),
    ],
)
async def test_what_still_counts_for_its_user_stays(kept: Deployment, charge: Charge, *, stays: bool) -> None:
    await kept.job("newest-run", charge=charge)
    await kept.job("earlier-run", earlier_charges=(charge,))
    await kept.walk()
    assert [await kept.is_there(one) for one in ("newest-run", "earlier-run")] == [stays, stays]


async def test_no_credits_come_back_with_a_document_that_goes(kept: Deployment) -> None:
    grant = Grant(grant_id="g", credits=5.0, granted_at=NOW - 1_000 * DAY)
    await kept.database.jobs.store_account(Account(user_id="ann", version=1, grants=(grant,)), 0)
    for number in range(3):
        await kept.job(f"j{number}", charge=_charged(9.0, 1.0, NOW - 900 * DAY))
    await kept.job("free", charge=_charged(9.0, 0.0, NOW - 900 * DAY))

    async def left() -> float:
        await send(kept.log, AskUsage(command_id=f"c{kept.now}", user_id="ann"))
        before = len(kept.log.records("openv.events"))
        await kept.decide([(await kept.records())[-1]])
        answer = decode(kept.log.records("openv.events")[before:][-1])
        return answer.remaining.credits  # type: ignore[union-attr]

    assert await left() == 2.0
    await kept.walk()
    assert not await kept.is_there("free")
    assert await left() == 2.0


def test_a_long_accounting_window_keeps_what_it_counts() -> None:
    long = StreamsSettings(limit_start_date="2024-01-01", limit_end_date="2030-12-31")
    now = 1_790_000_000_000
    job_of_2024 = Charge(state=ChargeState.CAPTURED, seconds=9.0, reserved_at=1_710_000_000_000)
    base = Deployment()
    job = Job(
        job_id="j",
        user_id="ann",
        pool="p",
        state=State.DELETED,
        version=1,
        request=GenerationRequest(prompt="", num_frames=7),
        request_hash="h",
        charge=job_of_2024,
        created_at=1,
        updated_at=1,
        due_at=1,
        expires_at=1,
        execution_timeout_ms=1,
    )
    assert counts_still(job, long.terms(now).period_start)
    assert not counts_still(job, base.settings.terms(now).period_start)


async def test_what_the_account_holds_as_pending_stays(kept: Deployment) -> None:
    job = await kept.job()
    await kept.database.jobs.store_account(Account(user_id="ann", version=1, pending={"j1": job}), 0)
    await kept.walk()
    assert await kept.is_there(), "the ledger would store that copy again"


async def test_two_walk_at_once(kept: Deployment) -> None:
    for number in range(STEP + 5):
        await kept.job(f"j{number:04}")
    await kept.job("v", state=State.COMPLETED)
    other = kept.another()
    more = [True, True]
    while any(more):
        more = [await kept.walker.step(), await other.step()]
    assert not any([await kept.is_there(f"j{number:04}") for number in range(STEP + 5)])
    first, second = await kept.deletions()
    assert first == second


async def test_a_step_is_bounded_and_a_walk_rests(kept: Deployment) -> None:
    for number in range(3 * STEP):
        await kept.job(f"j{number:04}", state=State.COMPLETED)
    assert await kept.walker.step()
    assert len(await kept.deletions()) == STEP
    while await kept.walker.step():
        pass
    assert len(await kept.deletions()) == 3 * STEP
    assert await kept.walker.step() is False
    kept.now += REST_MS - 1
    await kept.walker.step()
    assert len(await kept.deletions()) == 3 * STEP
    kept.now += 1
    await kept.walker.step()
    assert len(await kept.deletions()) == 4 * STEP, "what no ledger has done yet is said again"


async def test_uploads_of_no_job_go_and_no_others(kept: Deployment) -> None:
    await kept.job("deleted", updated_at=NOW + LEAST_MS)
    await kept.job("running", state=State.QUEUED, finished_at=None)
    gone = [input_key("ann", "never-decided"), input_key("ann", "deleted")]
    stay = [
        input_key("ann", "running"),
        input_key("bob", "deleted"),  # not its user's: not understood
        file_key("ann", "never-decided", 1, "w", "s", "video"),
        "a person's own.json",
    ]
    for store in (kept.objects, kept.second):
        for key in (*gone, *stay):
            await store.put_bytes(key, b"{}", "application/json")
    await kept.walk()
    assert sorted(kept.objects.objects) == sorted([*gone, *stay])
    kept.now += LEAST_MS
    await kept.walk()
    assert sorted(kept.objects.objects) == sorted(kept.second.objects) == sorted(stay)


async def test_a_store_that_is_away_is_passed_by(kept: Deployment) -> None:
    await kept.objects.put_bytes(input_key("ann", "nobody's"), b"{}", "application/json")
    await kept.second.put_bytes(input_key("ann", "nobody's"), b"{}", "application/json")
    kept.now += LEAST_MS
    kept.objects.away = True
    await kept.walk()
    assert (len(kept.objects.objects), len(kept.second.objects)) == (1, 0)
    kept.objects.away = False
    await kept.walk()
    assert kept.objects.objects == {}


async def test_expired_sessions_go_and_so_does_what_goes_by_age_alone(kept: Deployment) -> None:
    base = ApiKey(key_hash="s", prefix="p", user_id="ann", role=Role.USER, name="", created_at=1, kind=KeyKind.SESSION)
    await kept.database.access.store_api_key(replace(base, expires_at=NOW - 7 * DAY - 1))
    await kept.database.access.store_api_key(replace(base, key_hash="t", expires_at=NOW - 7 * DAY))
    asked: list[int] = []

    async def sweep(before: int) -> int:
        asked.append(before)
        return 1

    await kept.walk(kept.another(plans=sweep))
    assert [await kept.database.access.api_key(one) is not None for one in ("s", "t")] == [False, True]
    assert asked == [NOW - 90 * DAY]


@pytest.mark.parametrize("days", [1, LEAST_DAYS - 1])
@pytest.mark.parametrize("name", ["tombstone", "rejected", "upload", "replay"])
def test_nothing_is_kept_for_less_than_the_records_that_name_it(name: str, days: int) -> None:
    from repo.environment import SettingsError

    with pytest.raises(SettingsError, match="for ever"):
        StreamsSettings(**{f"openv_retention_{name}_days": days})  # type: ignore[arg-type]
    assert StreamsSettings(**{f"openv_retention_{name}_days": 0}).kept() is not None  # type: ignore[arg-type]
    assert LEAST_MS > RECORD_LIVES_MS + RENEWED_AFTER_MS


def _submission(number: int, at: int, job_id: str, **changes: Any) -> SubmitJob:
    command = SubmitJob(
        command_id=f"c{number}",
        user_id="ann",
        job_id=job_id,
        pool="mochi-1",
        request=GenerationRequest(prompt="a corgi", num_frames=7),
        request_hash="hash",
        append_by=at + 10_000,
    )
    return replace(command, **changes)


@pytest.mark.parametrize("seed", range(4))
async def test_no_replay_of_the_kept_log_makes_work_of_what_went(seed: int) -> None:
    """A user submits, deletes, and sends old keys again for half a year, while walks go on; whatever lies in the topic
    or among dead letters, read again after any of them, makes no job and changes none."""
    chance = random.Random(seed)
    least = StreamsSettings(openv_retention_tombstone_days=LEAST_DAYS, openv_retention_rejected_days=LEAST_DAYS)
    kept = Deployment(least)
    policy = Policy(rate_limit=1_000, max_active=2, monthly_limit_seconds=1.0)
    read = 0
    for number in range(90):
        kept.now += chance.randrange(4 * DAY)
        job_id = f"j{chance.randrange(6)}"
        other = chance.random() < 0.2
        command = chance.choice(
            [
                _submission(number, kept.now, job_id, request_hash="other" if other else "hash"),
                _submission(number, kept.now, job_id),
                DeleteJob(command_id=f"c{number}", user_id="ann", job_id=job_id),
                RetryJob(command_id=f"c{number}", user_id="ann", job_id=job_id, run=1, append_by=kept.now + 9),
            ]
        )
        await send(kept.log, command)
        records = await kept.records()
        await kept.decide(records[read:], policy=policy)
        read = len(records)
        await kept.walk()
        before = {job.job_id: job for job in (await kept.database.upkeep.jobs_after("", 99)).jobs}
        lies = [one for one in records if kept.now - one.timestamp <= RECORD_LIVES_MS or chance.random() < 0.1]
        await kept.decide(lies, policy=policy)
        after = {job.job_id: job for job in (await kept.database.upkeep.jobs_after("", 99)).jobs}
        assert after == before, f"seed {seed}, command {number}"
