"""What an operator's wishes make of an endpoint, in memory: each can be taken back, and what is doubtful is said."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operations.cli import app
from operations.endpoints import options
from operations.endpoints.wishes import Wishes, changed, new_endpoint
from operations.endpoints.words import doubt, limits_in_words, limits_moved, span
from operations.stack.errors import StackError
from schemas.endpoints import BUILT_IN, EndpointKind, EndpointLimits, ServerlessEndpoint

NOW = 1_700_000_000_000
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="
OWN = EndpointLimits(max_active=5)


def update(endpoint: ServerlessEndpoint, **wishes: object) -> ServerlessEndpoint:
    return changed(endpoint, Wishes(**wishes), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("member", "given", "taken_back"),
    [
        ("limits", {"max_active": 5}, {"deployment_limits": True}),
        ("limits", {"rate_window_ms": 1_000}, {"deployment_limits": True}),
        ("users", {"users": ("ann",)}, {"everyone": True}),
        ("webhook_secret", {"signing": SECRET}, {"drop_signing": True}),
        ("description", {"description": "ours"}, {"drop_description": True}),
        ("pool", {"pool": "gpu"}, {"pool": "mochi-1"}),
        ("max_retries", {"max_retries": 0}, {"max_retries": 2}),
        ("execution_timeout_ms", {"execution_timeout_ms": 5_000}, {"execution_timeout_ms": 600_000}),
        ("ttl_ms", {"ttl_ms": 10_000}, {"ttl_ms": 86_400_000}),
        ("result_ms", {"result_ms": 60_000}, {"result_ms": 1_800_000}),
        ("kind", {"external": True}, {"engine": "mochi"}),
    ],
)
def test_whatever_was_changed_can_be_taken_back(
    member: str, given: dict[str, object], taken_back: dict[str, object]
) -> None:
    """The built-in endpoint has the defaults of every member, the limits apart that a new one begins with."""
    other = update(BUILT_IN, **given)
    assert getattr(other, member) != getattr(BUILT_IN, member)
    back = update(other, **taken_back)
    assert replace(back, version=0, updated_at=0) == BUILT_IN


def test_a_wish_for_every_member_that_may_change() -> None:
    """A member that is new must be settable, and this test's table above say how it is taken back."""
    fixed = {"endpoint_id", "version", "created_at", "updated_at", "deleted_at"}
    known = {"limits", "users", "webhook_secret", "description", "pool", "kind"}
    known |= {"max_retries", "execution_timeout_ms", "ttl_ms", "result_ms"}
    assert set(ServerlessEndpoint.__dataclass_fields__) == fixed | known


def test_a_new_endpoint_has_limits_of_its_own_unless_it_is_said() -> None:
    assert new_endpoint("a", Wishes(), NOW).limits == EndpointLimits()
    assert new_endpoint("a", Wishes(deployment_limits=True), NOW).limits is None
    external = new_endpoint("a", Wishes(external=True, deployment_limits=True), NOW)
    assert (external.kind, external.limits) == (EndpointKind.EXTERNAL, None)


@pytest.mark.parametrize("limit", [{"max_active": 0}, {"rate_limit": 1}, {"rate_window_ms": 1_000}])
def test_limits_of_its_own_and_the_deployments_are_not_both_meant(limit: dict[str, object]) -> None:
    for endpoint in (BUILT_IN, replace(BUILT_IN, limits=OWN)):
        with pytest.raises(StackError, match="either --deployment-limits or limits of its own"):
            update(endpoint, deployment_limits=True, **limit)
    with pytest.raises(StackError, match="either --description or --no-description"):
        update(BUILT_IN, description="", drop_description=True)


def test_taking_back_what_was_never_given_is_a_change_like_any() -> None:
    assert update(BUILT_IN, deployment_limits=True).limits is None
    assert update(BUILT_IN, deployment_limits=True).version == 1


def test_one_limit_of_three_leaves_the_others_or_brings_their_defaults() -> None:
    assert update(BUILT_IN, rate_limit=7).limits == EndpointLimits(rate_limit=7)
    assert update(replace(BUILT_IN, limits=OWN), rate_limit=7).limits == EndpointLimits(max_active=5, rate_limit=7)


def test_whose_limits_hold_is_said() -> None:
    assert limits_in_words(OWN) == "its own: 5 jobs at once, 1000 requests in 10 s"
    assert limits_in_words(None) == "the deployment's (OPENV_MAX_ACTIVE, OPENV_RATE_LIMIT)"
    assert "not the deployment's: 5 jobs at once, 1000 requests in 10 s." in (limits_moved(None, OWN) or "")
    assert "no limits of its own: the deployment's hold" in (limits_moved(OWN, None) or "")
    assert limits_moved(OWN, EndpointLimits()) is None
    assert limits_moved(None, None) is None


def test_a_ttl_that_no_try_can_use_up_is_doubted() -> None:
    assert doubt(BUILT_IN) is None
    assert doubt(update(BUILT_IN, ttl_ms=600_000)) is None, "a try that begins at once may take all of it"
    words = doubt(update(BUILT_IN, ttl_ms=90_000))
    assert words is not None
    assert "ttl (90 s) runs from its submission" in words
    assert "execution timeout (10 min)" in words
    assert doubt(update(BUILT_IN, ttl_ms=90_000, execution_timeout_ms=90_000)) is None
    assert doubt(update(BUILT_IN, execution_timeout_ms=2 * 86_400_000)) is not None


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 s"), (1, "0.001 s"), (90_000, "90 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 d")],
)
def test_a_time_is_said_exactly(ms: int, words: str) -> None:
    assert span(ms) == words


# ---- the help


def helped(command: str) -> str:
    """As one line, without the frames."""
    result = CliRunner().invoke(app, ["endpoints", command, "--help"], env={"COLUMNS": "400"})
    assert result.exit_code == 0, result.output
    return re.sub(r"[\s│╭╮╰╯─]+", " ", result.output)


def options_of(command: str) -> set[str]:
    return set(re.findall(r"(?<= )--[a-z-]+(?= <)", helped(command)))


TAKING_BACK = ("--everyone", "--no-webhook-secret", "--no-description")


def test_each_command_offers_what_it_can_do() -> None:
    options = {name: options_of(name) for name in ("create", "update")}
    assert options["update"] - options["create"] == set(TAKING_BACK), "a new endpoint has nothing to take back"
    assert options["create"] <= options["update"]
    assert {"--deployment-limits", "--ttl", "--execution-timeout", "--result-minutes"} <= options["create"]


@pytest.mark.parametrize(
    ("option", "default", "unit"),
    [
        ("MaxActive", "1000", "Jobs"),
        ("RateLimit", "1000", "Jobs"),
        ("RateWindow", "10", "in seconds"),
        ("MaxRetries", "2", "How often"),
        ("ExecutionTimeout", "600", "in seconds"),
        ("Ttl", "86400", "in seconds"),
        ("ResultMinutes", "30", "in minutes"),
    ],
)
def test_a_number_says_its_unit_its_default_and_its_range(option: str, default: str, unit: str) -> None:
    """The default is the one that a new endpoint has, so that naming it is the way back."""
    (said,) = getattr(options, option).__metadata__
    assert unit in said.help
    assert re.search(rf"Default: {default}\b", said.help)
    assert (said.min is None, said.max is None) == (False, False)
    assert f"{said.min}<=x<={said.max}" in helped("update")


def test_the_defaults_that_the_help_names_are_the_defaults() -> None:
    new = new_endpoint("a", Wishes(), NOW)
    assert new.limits == EndpointLimits(max_active=1_000, rate_limit=1_000, rate_window_ms=10_000)
    assert (new.max_retries, new.execution_timeout_ms, new.ttl_ms) == (2, 600_000, 86_400_000)
    assert (new.result_ms, new.pool, new.users, new.webhook_secret) == (1_800_000, "mochi-1", None, None)


def test_the_page_about_endpoints_has_every_option_with_its_range() -> None:
    page = (Path(__file__).parents[3] / "docs" / "endpoints.md").read_text()
    for option in options_of("update") - {"--data-dir", "--help"}:
        assert f"`{option}" in page, option
    for name in ("MaxActive", "RateLimit", "RateWindow", "MaxRetries", "ExecutionTimeout", "Ttl", "ResultMinutes"):
        (said,) = getattr(options, name).__metadata__
        row = next(line for line in page.splitlines() if line.startswith(f"| `--{said_name(name)}`"))
        assert f"| {said.min}–{said.max} |" in row


def said_name(member: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"-\1", member).lower()
