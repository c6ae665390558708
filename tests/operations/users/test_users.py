"""``openv users`` on real servers: what a ledger decides, what it says when none runs, and what a person gets wrong."""

import asyncio
import io
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from operations import desk
from operations.cli import app
from operations.users import acts, commands
from repo.clock import now_ms
from repo.kafka import KafkaEventLog
from repo.mongo_jobs import MongoJobStore
from schemas.accounts import Account, Overrides, Role
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import Record, decode
from schemas.commands import DeleteUser, SetOverrides, SetRole
from schemas.lifecycle import State
from schemas.topics import AUDIT, COMMANDS
from tests.streams.streams_process import StreamsProcess, eventually, streams_running
from tests.streams.submissions import Ear, new_id, send, submission

NOWHERE = Path("nowhere")  # the environment names the servers
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def told(servers: Mapping[str, str], database: str) -> dict[str, str]:
    return {**servers, "MONGODB_DATABASE": database, "MONTHLY_LIMIT_SECONDS": "600"}


@pytest.fixture
def environment(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Early:
    """What was said and done before a ledger ran."""

    user: str
    answer: Result
    stored: Account | None
    rows: dict[str, str]


@pytest.fixture(scope="module")
async def early(told: dict[str, str], topics: list[str], kafka_log: KafkaEventLog, job_store: MongoJobStore) -> Early:
    """This module's ledger begins here, not at what other tests left in the topic."""
    ends = await kafka_log.ends(COMMANDS.name)
    await job_store.store_applied_offsets("ledger", {at: end - 1 for at, end in ends.items() if end})
    user = new_id("user-")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        patch.setattr(desk, "ANSWER_WITHIN_S", 0.5)
        answer = await openv("limit", user, "--seconds", "77")
        return Early(user, answer, await job_store.account(user), await shown(user))


@pytest.fixture(scope="module")
async def ledger(
    told: dict[str, str], early: Early, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StreamsProcess]:
    """A ledger alone, on this module's database."""
    async with streams_running(told, tmp_path_factory.mktemp("streams") / "log", "--role", "ledger") as one:
        yield one


async def openv(*words: str) -> Result:
    """The command, in a thread: it runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["users", *words, "--data-dir", str(NOWHERE)])


async def done(*words: str) -> str:
    result = await openv(*words)
    assert result.exit_code == 0, result.output
    return result.output


async def shown(user: str) -> dict[str, str]:
    out = io.StringIO()
    await commands.show(NOWHERE, user, Console(file=out))
    rows = (re.split(r" {2,}", line, maxsplit=1) for line in out.getvalue().splitlines())
    return {row[0]: row[1] for row in rows}


@pytest.mark.servers
async def test_without_a_ledger_it_is_recorded_and_carried_out_later(
    early: Early, ledger: StreamsProcess, job_store: MongoJobStore
) -> None:
    assert early.answer.exit_code == desk.NOT_DECIDED
    assert "Recorded, not decided yet" in early.answer.output
    assert early.stored is None, "the command itself writes nothing"
    assert "no ledger answers" in early.rows["usage"]

    async def decided() -> Account | None:
        return await job_store.account(early.user)

    account = await eventually(decided, what="the recorded limit")
    assert account is not None
    assert account.overrides == Overrides(monthly_limit_seconds=77.0)


@pytest.mark.servers
async def test_limits_are_set_one_by_one_and_cleared_together(
    environment: None, ledger: StreamsProcess, job_store: MongoJobStore
) -> None:
    user = new_id("user-")
    assert "seconds 1200" in await done("limit", user, "--seconds", "1200")
    said = await done("limit", user, "--max-active", "0", "--rate", "9", "--rate-window", "2.5")
    assert "seconds 1200, max-active 0, rate 9, rate-window 2.5" in said
    assert "1200 of 1200 seconds are left" in said
    account = await job_store.account(user)
    assert account is not None
    assert account.overrides == Overrides(monthly_limit_seconds=1200, max_active=0, rate_limit=9, rate_window_ms=2500)
    rows = await shown(user)
    assert rows["usage"] == "0 of 1200 seconds, 1200 left"
    assert rows["under way"] == "0 of 0 videos"
    assert rows["role"].startswith("not set")
    assert "own limits: none" in await done("limit", user, "--clear")
    assert (await shown(user))["usage"] == "0 of 600 seconds, 600 left"


@pytest.mark.servers
async def test_roles_and_blocks(environment: None, ledger: StreamsProcess, job_store: MongoJobStore) -> None:
    user = new_id("user-")
    assert (await shown(user))["account"].startswith("none is stored")
    for role in (Role.ADMIN, Role.RESTRICTED, Role.USER):
        said = await done("role", user, role)
        assert f"the role {role}." in said
        assert ("Nothing was known of" in said) is (role is Role.ADMIN)
    assert "is blocked" in await done("block", user, "--reason", "unpaid \udce9")
    rows = await shown(user)
    assert (rows["role"], rows["blocked"]) == ("user", "yes")
    assert "is not blocked" in await done("unblock", user)
    assert (await shown(user))["blocked"] == "no"


@pytest.mark.servers
async def test_a_grant_counts_once_an_id(environment: None, ledger: StreamsProcess, job_store: MongoJobStore) -> None:
    user = new_id("user-")
    order = ("--id", "order-1047")
    assert "has 50 credits" in await done("credits", user, "--grant", "50", "--reason", "order 1047", *order)
    assert "has 50 credits." in await done("credits", user, "--grant", "50", *order)
    assert "with 50 credits: it stands" in await done("credits", user, "--grant", "70", *order)
    assert "has 38.5 credits" in await done("credits", user, "--grant", "-11.5", "--expires-days", "9")
    account = await job_store.account(user)
    assert account is not None
    assert [(one.credits, one.reason) for one in account.grants] == [(50.0, "order 1047"), (-11.5, "")]
    assert abs((account.grants[1].expires_at or 0) - now_ms() - 9 * DAY_MS) < DAY_MS
    assert (await shown(user))["credits"] == "38.5"


@pytest.mark.servers
async def test_a_deleted_user_has_no_videos_left_and_comes_back_by_a_role(
    environment: None, ledger: StreamsProcess, kafka_log: KafkaEventLog, job_store: MongoJobStore
) -> None:
    user = new_id("user-")
    commands = [submission(user, new_id("pool-")) for _ in range(2)]
    async with Ear(kafka_log, "openv.events") as events:
        await send(kafka_log, *commands)
        await events.answered(*commands)
    assert (await shown(user))["under way"] == "2 of 3 videos"
    refused = await openv("delete", user)
    assert refused.exit_code == 1, "without a yes it is not done"
    assert [job.state for job in await job_store.jobs_of(user)] == [State.QUEUED] * 2
    assert "is deleted" in await done("delete", user, "--yes")
    assert {job.state for job in await job_store.jobs_of(user)} == {State.DELETED}
    assert (await shown(user))["deleted"] != "no"
    assert "is deleted" in await done("delete", user, "--yes"), "it may be said again"
    await done("role", user, "user")
    rows = await shown(user)
    assert (rows["deleted"], rows["usage"]) == ("no", "0 of 600 seconds, 600 left")


@pytest.mark.servers
async def test_a_word_is_newer_than_what_it_was_made_of_whatever_the_clock_says(
    environment: None, ledger: StreamsProcess, kafka_log: KafkaEventLog
) -> None:
    """Somebody's clock was a day ahead; the operator who looks and changes it is not refused for a day."""
    user = new_id("user-")
    ahead = now_ms() + DAY_MS
    early = [
        SetRole(command_id=new_id("c-"), user_id=user, role=Role.ADMIN, issued_at=ahead),
        SetOverrides(command_id=new_id("c-"), user_id=user, overrides=Overrides(max_active=7), issued_at=ahead),
    ]
    async with Ear(kafka_log, "openv.events") as events:
        await send(kafka_log, *early)
        await events.answered(*early)
    assert "the role restricted." in await done("role", user, "restricted")
    assert "max-active 7, rate 2." in await done("limit", user, "--rate", "2")
    assert "is deleted" in await done("delete", user, "--yes")


@pytest.mark.servers
async def test_a_change_that_was_overtaken_is_not_called_done(
    environment: None, ledger: StreamsProcess, kafka_log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the account and the command, somebody with a clock ahead changed it."""
    user = new_id("user-")
    newer = SetRole(command_id=new_id("c-"), user_id=user, role=Role.ADMIN, issued_at=now_ms() + DAY_MS)
    async with Ear(kafka_log, "openv.events") as events:
        await send(kafka_log, newer)
        await events.answered(newer)
    monkeypatch.setattr(acts, "_later", lambda *_: now_ms())  # as if it had not been there to be seen
    result = await openv("role", user, "user")
    assert result.exit_code == 1
    assert "Nothing was changed" in result.output
    assert (await shown(user))["role"] == "admin"


@pytest.mark.servers
async def test_the_log_says_that_an_operator_did_it(
    environment: None, ledger: StreamsProcess, kafka_log: KafkaEventLog
) -> None:
    user = new_id("user-")
    at = kafka_log.partition_of(COMMANDS.name, user.encode())
    begin = (await kafka_log.ends(COMMANDS.name))[at]
    await done("delete", user, "--yes")
    ends = await kafka_log.ends(COMMANDS.name)
    records: list[Record] = await kafka_log.read(COMMANDS.name, at, begin, ends[at])
    (mine,) = [one for one in records if (one.key or b"").decode() == user]
    assert isinstance(decode(mine), DeleteUser)
    assert mine.header("ce_source") == desk.SOURCE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("role", "alice", "owner"), "A role is one of"),
        (("limit", "alice"), "Say either --clear, or which limits"),
        (("limit", "alice", "--clear", "--rate", "3"), "Say either --clear, or which limits"),
        (("limit", "alice", "--seconds", "inf"), "no number"),
        (("limit", "alice", "--rate-window", "1e12"), "more than can be written down"),
        (("credits", "alice", "--grant", "0"), "a number that is not 0"),
        (("credits", "alice", "--grant", "nan"), "a number that is not 0"),
        (("credits", "alice", "--grant", "1e308"), "of at most 1,000,000,000,000 either way"),
        (("credits", "alice", "--grant", "5", "--id", "two words"), "A grant's id"),
        (("show", "../etc"), "A user id has"),
        (("block", "two words"), "A user id has"),
        (("delete", "", "--yes"), "A user id has"),
    ],
)
async def test_what_makes_no_sense_is_one_sentence_and_sends_nothing(words: tuple[str, ...], said: str) -> None:
    result = await openv(*words)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.servers
async def test_every_change_is_in_the_audit_before_and_after_it_is_made(
    environment: None, ledger: StreamsProcess, kafka_log: KafkaEventLog
) -> None:
    user = new_id("user-")
    begin = (await kafka_log.ends(AUDIT.name))[0]
    await done("role", user, "admin", "--reason", "she is one")
    await done("limit", user, "--rate", "7")
    await done("block", user)
    await done("credits", user, "--grant", "5", "--id", "order-1")
    await done("delete", user, "--yes")
    records = await kafka_log.read(AUDIT.name, 0, begin, (await kafka_log.ends(AUDIT.name))[0])
    entries = [entry for record in records if isinstance(entry := decode(record), AuditEntry) and entry.target == user]
    actions = ("users.role", "users.limit", "users.block", "users.credits", "users.delete")
    assert [(one.action, one.stage) for one in entries] == [
        (action, stage) for action in actions for stage in (AuditStage.BEGUN, AuditStage.DONE)
    ]
    assert (entries[0].reason, entries[0].detail) == ("she is one", {"role": "admin"})
    assert (entries[2].detail, entries[6].detail) == ({"rate_limit": "7"}, {"grant": "order-1", "credits": "5"})
