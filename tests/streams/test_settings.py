"""The streams' settings: defaults are OpenV's, nonsense is refused in one sentence, a wrong window is the month."""

import pytest

from gateway.settings import GatewaySettings
from repo.core.addresses import Rules, read_networks
from repo.environment import SettingsError
from streams.core.policy import Policy
from streams.settings import Mailing, Role, StreamsSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in StreamsSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_defaults_are_the_policys_own() -> None:
    assert StreamsSettings().policy() == Policy()
    assert StreamsSettings().roles == (Role.LEDGER, Role.SCHEDULER, Role.JANITOR, Role.NOTIFIER)


def test_every_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MONTHLY_LIMIT_SECONDS": "60",
        "OPENV_MAX_ACTIVE": "1",
        "OPENV_RATE_LIMIT": "2",
        "OPENV_RATE_WINDOW_SECONDS": "0.5",
        "OPENV_MAX_RETRIES": "0",
        "OPENV_RETRY_DELAY_SECONDS": "3",
        "OPENV_TTL_SECONDS": "4",
        "OPENV_EXECUTION_TIMEOUT_SECONDS": "5",
        "OPENV_REFUND_ON_CANCEL": "used",
        "OPENV_CREDITS_REQUIRED": "true",
        "OPENV_CREDITS_PER_VIDEO": "6",
        "OPENV_STREAMS_ROLE": "ledger",
    }.items():
        monkeypatch.setenv(name, value)
    settings = StreamsSettings()
    assert settings.roles == (Role.LEDGER,)
    assert settings.policy() == Policy(
        monthly_limit_seconds=60.0,
        max_active=1,
        rate_limit=2,
        rate_window_ms=500,
        max_retries=0,
        backoff_base_ms=3000,
        ttl_ms=4000,
        execution_timeout_ms=5000,
        refund_on_cancel="used",
        credits_required=True,
        credits_per_video=6.0,
    )


def test_a_limit_window_is_read_in_utc_or_with_its_offset() -> None:
    settings = StreamsSettings(limit_start_date="2026-11-01", limit_end_date="2026-12-01T01:00:00+01:00")
    assert settings.policy().limit_window == (1_793_491_200_000, 1_796_083_200_000)


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-11-01", None), (None, "2026-11-01"), ("soon", "2026-11-01"), ("2026-11-02", "2026-11-01")],
)
def test_a_window_that_makes_no_sense_is_the_month(start: str | None, end: str | None) -> None:
    assert StreamsSettings(limit_start_date=start, limit_end_date=end).policy().limit_window is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("openv_max_active", "-1"),
        ("openv_refund_on_cancel", "some"),
        ("openv_streams_role", "gateway"),
        ("openv_ttl_seconds", "0"),
        ("openv_streams_heartbeat_seconds", "5"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name.upper()} is not valid: .*\\.$"):
        StreamsSettings(**{name: value})


def test_mail_is_off_until_a_server_and_a_sender_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert StreamsSettings().mailing is None
    monkeypatch.setenv("OPENV_SMTP_HOST", "mail.example")
    with pytest.raises(SettingsError, match="OPENV_SMTP_HOST needs OPENV_SMTP_FROM"):
        StreamsSettings()
    monkeypatch.setenv("OPENV_SMTP_FROM", "OpenV <openv@mail.example>")
    assert StreamsSettings().mailing == Mailing("mail.example", 587, "OpenV <openv@mail.example>")
    monkeypatch.setenv("OPENV_SMTP_TLS", "tls")
    monkeypatch.setenv("OPENV_SMTP_USERNAME", "openv")
    with pytest.raises(SettingsError, match="go together"):
        StreamsSettings()
    monkeypatch.setenv("OPENV_SMTP_PASSWORD", "hidden")
    settings = StreamsSettings()
    assert settings.mailing is not None
    assert (settings.mailing.port, settings.mailing.tls, settings.mailing.password) == (465, "tls", "hidden")
    assert "hidden" not in f"{settings!r}{settings.mailing!r}"


def test_where_webhooks_may_lead_is_read_alike_by_gateway_and_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    assert StreamsSettings().webhook_rules == GatewaySettings().webhook_rules == Rules()
    monkeypatch.setenv("OPENV_WEBHOOK_ALLOW_HTTP", "true")
    monkeypatch.setenv("OPENV_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")
    expected = Rules(allow_http=True, networks=read_networks("10.0.0.0/8,fd00::/8"))
    assert StreamsSettings().webhook_rules == GatewaySettings().webhook_rules == expected
    monkeypatch.setenv("OPENV_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.1/8")
    for settings in (StreamsSettings, GatewaySettings):
        with pytest.raises(SettingsError, match="OPENV_WEBHOOK_ALLOWED_NETWORKS is not valid"):
            settings()
