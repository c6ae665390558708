"""The address that a job's end is told to: what can never be told is refused with the job."""

from typing import Any

import pytest

from repo.core.addresses import URL_MAX, Rules, wrong_with
from schemas.commands import SubmitJob
from tests.gateway.runpod import echo
from tests.gateway.world import World, settings, started

HTTP = "OPENV_WEBHOOK_ALLOW_HTTP"
NETWORKS = "OPENV_WEBHOOK_ALLOWED_NETWORKS"
UNLESS = ", unless the operator allows others: "
BY_FORM = [
    "https://user:hush@example.org/",
    "https://hush@example.org/",
    "https://example.org/#hush",
    "https://example.org:22/",
    "https://2130706433/",
    "https://example.org/" + "x" * URL_MAX,
    "https://exa mple.org/",
    "https:///hush",
    "ftp://example.org/hush",
    "example.org/hush",
    "",
]


@pytest.fixture(autouse=True)
async def _endpoint(world: World) -> None:
    await echo.add(world)


async def told(world: World, path: str = "/v2/echo/run", **webhook: Any) -> list[dict[str, str]] | None:
    """What is wrong with each field; None: the job was taken."""
    before = len(world.ledger.heard)
    async with world.client() as http:
        answer = await http.post(path, json={"input": {"prompt": "p"}, **webhook})
    if answer.status_code == 200:
        return None
    assert answer.status_code == 400
    assert "hush" not in answer.text
    assert len(world.ledger.heard) == before
    details: list[dict[str, str]] = answer.json()["details"]
    return details


@pytest.mark.parametrize("url", BY_FORM)
@pytest.mark.parametrize("field", ["webhook", "webhookV2"])
async def test_it_is_judged_as_those_that_are_told(world: World, field: str, url: str) -> None:
    words = wrong_with(url, Rules())
    assert words is not None
    assert await told(world, **{field: url}) == [{"field": field, "message": words}]


@pytest.mark.parametrize("path", ["/v2/echo/run", "/v2/echo/runsync", "/v2/mochi-1/run", "/v2/mochi-1/runsync"])
async def test_it_is_refused_at_every_door(world: World, path: str) -> None:
    (line,) = await told(world, path, webhook="https://127.0.0.1/") or []
    assert line["field"] == "webhook"


@pytest.mark.parametrize(
    ("url", "settings_named"),
    [
        ("http://example.org/", HTTP),
        ("https://10.0.0.7/", NETWORKS),
        ("https://127.0.0.1:8443/", NETWORKS),
        ("https://localhost:8443/", NETWORKS),
        ("https://App.LOCALHOST./", NETWORKS),
        ("https://169.254.169.254/latest", NETWORKS),
        ("https://[::1]/", NETWORKS),
        ("https://[::ffff:10.0.0.7]/", NETWORKS),
        ("http://10.0.0.7/", f"{HTTP} and {NETWORKS}"),
    ],
)
async def test_what_an_operator_may_allow_is_said_with_the_setting(world: World, url: str, settings_named: str) -> None:
    (line,) = await told(world, webhook=url) or []
    words = "must begin with https://" if url.startswith("http:") else "must lead to a public address"
    assert line["message"] == f"{words}{UNLESS}{settings_named}"
    allowing = {"webhook_allow_http": True, "webhook_allowed_networks": "10.0.0.0/8,127.0.0.0/8,169.254.0.0/16,::1/128"}
    async with started(settings(**allowing)) as lax:
        await echo.add(lax)
        assert await told(lax, webhook=url) is None


async def test_one_setting_alone_may_not_do() -> None:
    async with started(settings(webhook_allow_http=True)) as world:
        await echo.add(world)
        (line,) = await told(world, webhook="http://10.0.0.7/") or []
        assert line["message"] == f"must lead to a public address{UNLESS}{NETWORKS}"
    async with started(settings(webhook_allowed_networks="10.0.0.0/8")) as world:
        await echo.add(world)
        (line,) = await told(world, webhook="http://10.0.0.7/") or []
        assert line["message"] == f"must begin with https://{UNLESS}{HTTP}"


@pytest.mark.parametrize("url", ["https://example.org:8443/told?x=1", "https://8.8.8.8/", "https://bücher.example/"])
async def test_names_are_looked_up_when_they_are_told(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unexpected(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(world.parts.notifications.resolver, "resolve", unexpected)
    assert await told(world, webhook=url) is None
    (command,) = [one for one in world.ledger.heard if isinstance(one, SubmitJob)]
    assert command.webhook == url


async def test_each_of_two_is_named(world: World) -> None:
    lines = await told(world, webhook="http://10.0.0.7/", webhookV2="ftp://example.org/") or []
    assert [line["field"] for line in lines] == ["webhook", "webhookV2"]
    assert await told(world, webhook="https://example.org/", webhookV2=None) is None
    assert [line["field"] for line in await told(world, webhook=7) or []] == ["webhook"]
