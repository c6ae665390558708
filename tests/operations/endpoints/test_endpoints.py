"""``openv endpoints`` against the database: what is stored, what is printed once, and what a person gets wrong."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.identity.keys import hash_of
from gateway.runpod.known_endpoints import FRESH_MS
from operations.cli import app
from operations.endpoints import changes
from operations.endpoints.wishes import Wishes
from operations.stack.errors import StackError
from operations.worker_environment import as_env_file, as_shell, worker_environment
from repo.kafka import KafkaEventLog
from repo.mongo import MongoDatabase
from repo.mongo_endpoints import MongoEndpointStore
from repo.settings import ServerSettings
from schemas.access import KeyKind
from schemas.accounts import Role
from schemas.audit import AuditEntry, AuditStage
from schemas.codec import decode
from schemas.endpoints import BUILT_IN, EndpointKind, EndpointLimits, ServerlessEndpoint, external_pool
from schemas.lifecycle import State
from schemas.topics import AUDIT
from tests.repo.jobs import a_job

pytestmark = pytest.mark.servers
NOWHERE = Path("nowhere")  # the environment names the servers
URL = "https://openv.example.org"
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def environment(servers: dict[str, str], topics: list[str], database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**servers, "MONGODB_DATABASE": database, "OPENV_URL": f"{URL}/"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(mongo: MongoDatabase) -> MongoEndpointStore:
    return mongo.endpoints


@pytest.fixture
def name() -> str:
    return f"e-{uuid.uuid4().hex[:8]}"


async def openv(*words: str, entered: str | None = None) -> Result:
    """The command, in a thread: it runs a loop of its own."""
    called = ["endpoints", *words, "--data-dir", str(NOWHERE)]
    return await asyncio.to_thread(CliRunner().invoke, app, called, input=entered)


async def done(*words: str) -> str:
    result = await openv(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


async def refused(*words: str, code: int = 1) -> str:
    result = await openv(*words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


async def stored(store: MongoEndpointStore, name: str) -> ServerlessEndpoint:
    found = await store.endpoint(name)
    assert found is not None
    return found


async def shown(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await done("show", name, "--json"))
    return found


async def test_an_endpoint_is_made_with_its_defaults_and_its_address_is_printed(
    store: MongoEndpointStore, name: str
) -> None:
    said = await done("create", name)
    assert said == f"Endpoint {name}: {URL}/v2/{name}\n"
    made = await stored(store, name)
    assert (made.kind, made.pool, made.version, made.users, made.limits) == (
        EndpointKind.ENGINE,
        "mochi-1",
        1,
        None,
        EndpointLimits(),
    )
    assert (made.max_retries, made.execution_timeout_ms, made.ttl_ms, made.result_ms) == (
        2,
        600_000,
        DAY_MS,
        1_800_000,
    )
    assert f"There is an endpoint {name} already" in await refused("create", name)
    assert await stored(store, name) == made


async def test_every_wish_is_stored_changed_and_undone(store: MongoEndpointStore, name: str) -> None:
    limits = ("--max-active", "5", "--rate-limit", "7", "--rate-window", "60")
    times = ("--max-retries", "0", "--execution-timeout", "5", "--ttl", "10", "--result-minutes", "1")
    who = ("--user", "ann", "--user", "a|b@c.d", "--user", "ann", "--description", "größer")
    said = await done("create", name, "--external", *limits, *times, *who, "--webhook-secret", "generate")
    (secret,) = re.findall(r"whsec_\S+", said)
    made = await stored(store, name)
    assert made.webhook_secret == secret
    assert (made.kind, made.pool, made.users) == (EndpointKind.EXTERNAL, external_pool(name), ("ann", "a|b@c.d"))
    assert made.limits == EndpointLimits(max_active=5, rate_limit=7, rate_window_ms=60_000)
    assert (made.max_retries, made.execution_timeout_ms, made.ttl_ms, made.result_ms) == (0, 5_000, 10_000, 60_000)
    assert made.description == "größer"
    await done("update", name, "--max-active", "0", "--everyone", "--no-webhook-secret", "--ttl", "604800")
    after = await stored(store, name)
    assert (after.version, after.created_at) == (2, made.created_at)
    assert (after.users, after.webhook_secret, after.ttl_ms) == (None, None, 7 * DAY_MS)
    assert after.limits == EndpointLimits(max_active=0, rate_limit=7, rate_window_ms=60_000), "the others stay"
    assert (after.max_retries, after.description, after.pool) == (0, "größer", made.pool)


async def test_no_secret_is_shown_a_second_time(store: MongoEndpointStore, name: str) -> None:
    said = await done("create", name, "--external", "--webhook-secret", "generate")
    (secret,) = re.findall(r"whsec_\S+", said)
    later = [
        await done("list"),
        await done("list", "--json"),
        await done("show", name),
        await done("show", name, "--json"),
    ]
    assert not any(secret[:12] in one for one in later)
    assert (await shown(name))["signedWebhooks"] is True
    given = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="
    assert given in await done("update", name, "--webhook-secret", given)
    assert (await stored(store, name)).webhook_secret == given


async def test_lists_for_people_and_for_programs(name: str) -> None:
    await done("create", name, "--external", "--user", "ann", "--ttl", "7200", "--rate-window", "90")
    row = next(line for line in (await done("list")).splitlines() if name in line)
    for cell in ("external", external_pool(name), "ann", "1000 jobs at once, 1000 requests in 90 s", "2 h", "30 min"):
        assert cell in row
    found = {one["endpointId"]: one for one in json.loads(await done("list", "--json"))}
    assert found[name]["url"] == f"{URL}/v2/{name}"
    assert BUILT_IN.endpoint_id in found
    assert f"{URL}/v2/{name}" in await done("show", name)


async def test_a_pool_stays_while_jobs_are_in_it(
    store: MongoEndpointStore, mongo: MongoDatabase, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "KNOWN_WITHIN_S", 0.0)
    await done("create", name)
    job = a_job("ann", endpoint=name)
    await mongo.jobs.store_job(job, 0)
    for words in (("--pool", "mochi-2"), ("--external",)):
        assert f"In the pool mochi-1, 1 job is under way for {name}" in await refused("update", name, *words)
    assert (await stored(store, name)).version == 1
    await done("update", name, "--pool", "mochi-1", "--max-retries", "1")
    assert (await shown(name))["activeJobs"] == 1
    await mongo.jobs.store_job(a_job("ann", endpoint=name, job_id=job.job_id, version=2, state=State.COMPLETED), 1)
    await done("update", name, "--pool", "mochi-2")
    assert (await stored(store, name)).pool == "mochi-2"
    await done("update", name, "--external")
    assert (await stored(store, name)).pool == external_pool(name)
    await done("update", name, "--engine", "mochi")
    assert (await stored(store, name)).pool == "mochi-1"


async def test_jobs_that_a_gateway_sent_to_the_old_pool_meanwhile_are_told_of(
    mongo: MongoDatabase, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done("create", name)
    late = a_job("ann", endpoint=name, pool="mochi-1")

    async def sent_late(within_s: float) -> None:
        """What a gateway does that remembers the endpoint as it was; of the loop of the command."""
        assert within_s > FRESH_MS / 1000
        async with MongoDatabase(ServerSettings()) as database:
            await database.jobs.store_job(late, 0)

    monkeypatch.setattr(changes, "asyncio", SimpleNamespace(sleep=sent_late))
    changed = await openv("update", name, "--pool", "mochi-2")
    assert changed.exit_code == 0, changed.output
    assert "Meanwhile 1 job is under way that went to the pool mochi-1" in changed.stderr
    same = await openv("update", name, "--max-retries", "1")
    assert (same.exit_code, same.stderr) == (0, ""), "nothing moved"


async def test_a_deleted_one_is_gone_for_all_but_its_jobs(
    store: MongoEndpointStore, mongo: MongoDatabase, name: str
) -> None:
    await done("create", name, "--external")
    await mongo.jobs.store_job(a_job("ann", endpoint=name), 0)
    asked = await openv("delete", name, entered="n\n")
    assert asked.exit_code == 1
    assert f"Delete the endpoint {name}? 1 job is under way and will go on." in asked.output
    assert (await stored(store, name)).deleted_at is None
    assert "1 job is under way and will go on." in await done("delete", name, "--yes")
    assert (await stored(store, name)).deleted_at is not None
    for words in (("show", name), ("update", name, "--everyone"), ("delete", name, "--yes"), ("key", name)):
        assert f"There is no endpoint {name}" in await refused(*words)
    assert name not in await done("list")
    assert name not in await done("list", "--json")


async def test_a_name_that_comes_back_trusts_no_worker_of_before(
    store: MongoEndpointStore, mongo: MongoDatabase, name: str
) -> None:
    await done("create", name, "--external", "--user", "ann")
    old = environment_in(await done("key", name))["RUNPOD_AI_API_KEY"]
    await mongo.jobs.store_job(job := a_job("ann", endpoint=name), 0)
    await done("delete", name, "--yes")
    key = await mongo.access.api_key(hash_of(old))
    assert key is not None
    assert key.revoked_at is None, "its jobs go on, and somebody must run them"
    assert "1 job is under way" in await refused("create", name), "other workers would never see them"
    await mongo.jobs.store_job(a_job("ann", endpoint=name, job_id=job.job_id, version=2, state=State.FAILED), 1)
    await done("create", name, "--external")
    again = await stored(store, name)
    assert (again.version, again.users, again.deleted_at) == (3, None, None)
    key = await mongo.access.api_key(hash_of(old))
    assert key is not None
    assert key.revoked_at is not None


async def test_the_built_in_one_can_be_changed_and_deleted(store: MongoEndpointStore) -> None:
    try:
        await done("update", "mochi-1", "--description", "ours")
        assert (await stored(store, "mochi-1")).limits is None, "nobody gave it any"
        said = await done("update", "mochi-1", "--max-active", "9")
        assert "not the deployment's: 9 jobs at once, 1000 requests in 10 s" in said
        assert "the deployment's" not in await done("update", "mochi-1", "--max-active", "9")
        assert (await stored(store, "mochi-1")).limits == EndpointLimits(max_active=9)
        await done("delete", "mochi-1", "--yes")
        assert (await stored(store, "mochi-1")).deleted_at is not None
        assert "There is no endpoint mochi-1" in await refused("show", "mochi-1")
        await done("create", "mochi-1")
        assert (await stored(store, "mochi-1")).version == 5
    finally:
        await store._endpoints.delete_one({"_id": "mochi-1"})


async def test_limits_of_its_own_go_back_to_the_deployments(store: MongoEndpointStore, name: str) -> None:
    await done("create", name, "--max-active", "9")
    assert (await shown(name))["limitsOf"] == "endpoint"
    said = await done("update", name, "--deployment-limits")
    assert "From now on it has no limits of its own: the deployment's hold (OPENV_MAX_ACTIVE, OPENV_RATE_LIMIT)" in said
    assert (await stored(store, name)).limits is None
    found = await shown(name)
    assert found["limitsOf"] == "deployment"
    assert "limits" not in found
    row = next(line for line in (await done("list")).splitlines() if name in line)
    assert "the deployment's (OPENV_MAX_ACTIVE, OPENV_RATE_LIMIT)" in row
    assert "From now on" not in await done("update", name, "--deployment-limits")
    await done("update", name, "--rate-limit", "7")
    assert (await stored(store, name)).limits == EndpointLimits(rate_limit=7)
    await done("update", name, "--description", "ours")
    await done("update", name, "--no-description")
    assert (await stored(store, name)).description == ""


async def test_a_ttl_that_no_try_can_use_up_is_told_of_once(store: MongoEndpointStore, name: str) -> None:
    made = await openv("create", name, "--ttl", "300")
    assert made.exit_code == 0, made.output
    assert "a job's ttl (5 min) runs from its submission" in made.stderr
    assert made.stdout == f"Endpoint {name}: {URL}/v2/{name}\n", "what programs read is as ever"
    other = await openv("update", name, "--max-retries", "1")
    assert other.stderr == ""
    worse = await openv("update", name, "--execution-timeout", "3600")
    assert "execution timeout (1 h)" in worse.stderr
    mended = await openv("update", name, "--ttl", "3600")
    assert (mended.exit_code, mended.stderr) == (0, "")
    assert (await stored(store, name)).ttl_ms == 3_600_000


async def test_changes_at_the_same_time_are_all_made(
    store: MongoEndpointStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done("create", name)
    compare = MongoEndpointStore.store_endpoint
    rivals = iter(("one", "two"))

    async def late(self: MongoEndpointStore, endpoint: ServerlessEndpoint, expected: int) -> bool:
        """Somebody else is quicker, twice."""
        if (rival := next(rivals, None)) is not None:
            now = await self.endpoint(name)
            assert now is not None
            await compare(self, replace(now, version=now.version + 1, description=rival), now.version)
        return await compare(self, endpoint, expected)

    monkeypatch.setattr(MongoEndpointStore, "store_endpoint", late)
    await done("update", name, "--max-active", "3")
    after = await stored(store, name)
    assert (after.version, after.description, after.limits) == (4, "two", EndpointLimits(max_active=3))


async def test_of_two_who_make_the_same_one_the_second_is_told(name: str) -> None:
    makers = (changes.create(NOWHERE, name, Wishes(description=str(number))) for number in range(4))
    results = await asyncio.gather(*makers, return_exceptions=True)
    assert results.count(0) == 1
    assert sum(isinstance(one, StackError) and "already" in str(one) for one in results) == 3


# ---- keys


def environment_in(printed: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in printed.splitlines())


async def test_a_worker_key_is_stored_without_its_secret_and_good_for_its_endpoint_alone(
    mongo: MongoDatabase, name: str
) -> None:
    await done("create", name, "--external")
    result = await openv("key", name, "--name", "gpu-7", "--expires-days", "2")
    variables = environment_in(result.stdout)
    secret = variables["RUNPOD_AI_API_KEY"]
    (key,) = await mongo.access.api_keys(f"endpoint:{name}")
    assert (key.key_hash, key.kind, key.endpoint, key.name) == (hash_of(secret), KeyKind.WORKER, name, "gpu-7")
    assert (key.role, key.scopes) == (Role.RESTRICTED, ()), "nothing, should it ever be taken for a caller's"
    assert key.expires_at == key.created_at + 2 * DAY_MS
    assert secret not in result.stderr
    assert (await shown(name))["workerKeys"] == 1
    owner = ("--user", f"endpoint:{name}", "--data-dir", str(NOWHERE))
    rows = await asyncio.to_thread(CliRunner().invoke, app, ["keys", "list", *owner])
    assert re.search(rf"{secret[:9]}….*worker.*gpu-7.*active", rows.output)
    await asyncio.to_thread(CliRunner().invoke, app, ["keys", "revoke", *owner, secret[:9]])
    revoked = await mongo.access.api_key(key.key_hash)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert (await shown(name))["workerKeys"] == 0


async def test_the_environment_is_the_one_that_the_sdk_reads(name: str) -> None:
    await done("create", name, "--external")
    found = environment_in(await done("key", name, "--url", "http://10.0.0.7:8000/", "--pod", "pod-1"))
    at = f"http://10.0.0.7:8000/v2/{name}"
    key = found.pop("RUNPOD_AI_API_KEY")
    assert re.fullmatch(r"ov_[A-Za-z0-9_-]{43}", key)
    assert found == {
        "RUNPOD_WEBHOOK_GET_JOB": f"{at}/job-take/$ID?gpu=x",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{at}/job-done/$RUNPOD_POD_ID/$ID?gpu=x",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{at}/job-stream/$RUNPOD_POD_ID/$ID?gpu=x",
        "RUNPOD_WEBHOOK_PING": f"{at}/ping/$RUNPOD_POD_ID?gpu=x",
        "RUNPOD_POD_ID": "pod-1",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }
    others = [environment_in(await done("key", name)) for _ in range(2)]
    assert len({one["RUNPOD_POD_ID"] for one in others}) == 2
    assert others[0]["RUNPOD_WEBHOOK_PING"].startswith(f"{URL}/v2/"), "OPENV_URL, where nothing else is said"


def test_a_shell_hands_on_the_very_same_values() -> None:
    variables = worker_environment("https://a.example/it's;$HOME", "e", "ov_key", "pod-1")
    program = f"{as_shell(variables)}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    seen = json.loads(subprocess.run(["sh", "-c", program], capture_output=True, check=True).stdout)
    assert {name: seen[name] for name in variables} == variables
    assert environment_in(as_env_file(variables)) == variables


async def test_shell_lines_are_printed_where_they_are_asked_for(name: str) -> None:
    await done("create", name, "--external")
    lines = (await done("key", name, "--shell")).splitlines()
    assert all(line.startswith("export RUNPOD_") for line in lines)
    words = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert words["RUNPOD_WEBHOOK_GET_JOB"] == f"{URL}/v2/{name}/job-take/$ID?gpu=x"


async def test_an_address_that_only_this_machine_reaches_is_said_to_be_one(name: str) -> None:
    await done("create", name, "--external")
    here = await openv("key", name, "--url", "http://127.0.0.1:8000")
    assert "is this machine alone" in here.stderr
    assert "is this machine alone" not in (await openv("key", name)).stderr


async def test_workers_of_our_own_need_no_key(mongo: MongoDatabase, name: str) -> None:
    await done("create", name)
    assert "need no key" in await refused("key", name)
    assert await mongo.access.api_keys(f"endpoint:{name}") == []


# ---- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "Upscale"), "An endpoint's name has"),
        (("create", "-x"), "No such option"),
        (("create", "a/b"), "An endpoint's name has"),
        (("create", "x" * 41), "An endpoint's name has"),
        (("create", "échelle"), "An endpoint's name has"),
        (("create", "new\n"), "An endpoint's name has"),
        (("create", "new", "--engine", "runway"), "An engine is one of mochi"),
        (("create", "new", "--engine", "mochi", "--external"), "either --engine or --external"),
        (("create", "new", "--external", "--pool", "mine"), "a pool of its own"),
        (("create", "new", "--pool", "two words"), "A pool's name has"),
        (("create", "new", "--pool", "a:b"), "A pool's name has"),
        (("create", "new", "--pool", "endpoint.other"), "belong to endpoints with external workers"),
        (("create", "new", "--user", "../etc"), "A user id has"),
        (("create", "new", "--user", ""), "A user id has"),
        (("create", "new", "--webhook-secret", "hush-hush"), "A webhook secret is whsec_"),
        (("create", "new", "--webhook-secret", "whsec_c2hvcnQ="), "A webhook secret is whsec_"),
        (("create", "new", "--description", "two\nlines"), "A description has"),
        (("create", "new", "--description", "x" * 501), "A description has"),
        (("update", "mochi-1"), "Say what to change"),
        (("update", "mochi-1", "--user", "ann", "--everyone"), "either --user or --everyone"),
        (("update", "mochi-1", "--webhook-secret", "generate", "--no-webhook-secret"), "either --webhook-secret or"),
        (("update", "mochi-1", "--deployment-limits", "--max-active", "1"), "either --deployment-limits or limits of"),
        (("create", "new", "--deployment-limits", "--rate-window", "1"), "either --deployment-limits or limits of"),
        (("update", "mochi-1", "--description", "x", "--no-description"), "either --description or --no-description"),
        (("update", "nobody", "--everyone"), "There is no endpoint nobody"),
        (("delete", "nobody", "--yes"), "There is no endpoint nobody"),
        (("show", "nobody"), "There is no endpoint nobody"),
        (("key", "nobody"), "There is no endpoint nobody"),
        (("key", "nobody", "--pod", "two words"), "A pod's id has"),
        (("key", "nobody", "--url", "openv.example.org"), "The gateway's address is like"),
        (("key", "nobody", "--url", "https://a.example/?x=1"), "The gateway's address is like"),
        (("key", "nobody", "--url", "https://a.example:99999"), "The gateway's address is like"),
        (("key", "nobody", "--url", "https://a.example/\nX=1"), "The gateway's address is like"),
    ],
)
async def test_what_makes_no_sense_is_one_sentence(
    store: MongoEndpointStore, words: tuple[str, ...], said: str
) -> None:
    assert said in await refused(*words, code=2 if said == "No such option" else 1)
    assert await store.endpoint("new") is None


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--execution-timeout", ("4", "604801", "nan", "5.5")),
        ("--ttl", ("9", "604801", "-1")),
        ("--result-minutes", ("0", "1000000")),
        ("--rate-window", ("0", "86401")),
        ("--rate-limit", ("0", "1000001")),
        ("--max-active", ("-1", "1000001")),
        ("--max-retries", ("-1", "101")),
    ],
)
async def test_numbers_out_of_range_are_refused_with_the_range(
    store: MongoEndpointStore, option: str, values: tuple[str, ...]
) -> None:
    for value in values:
        assert "Invalid value" in await refused("create", "new", option, value, code=2)
    assert await store.endpoint("new") is None


async def test_who_changed_an_endpoint_is_in_the_audit(kafka_log: KafkaEventLog, name: str) -> None:
    begin = (await kafka_log.ends(AUDIT.name))[0]
    await done("create", name, "--external")
    await done("update", name, "--max-active", "3")
    await done("key", name)
    await refused("create", name)
    await done("delete", name, "--yes")
    records = await kafka_log.read(AUDIT.name, 0, begin, (await kafka_log.ends(AUDIT.name))[0])
    entries = [entry for record in records if isinstance(entry := decode(record), AuditEntry) and entry.target == name]
    ends = [(one.action.removeprefix("endpoints."), one.stage) for one in entries if one.stage is not AuditStage.BEGUN]
    assert ends == [
        ("create", AuditStage.DONE),
        ("update", AuditStage.DONE),
        ("key", AuditStage.DONE),
        ("create", AuditStage.FAILED),
        ("delete", AuditStage.DONE),
    ]
    assert len(entries) == 2 * len(ends)
