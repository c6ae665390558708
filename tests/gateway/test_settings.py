"""Settings from the environment, and what a wrong one says."""

import pytest

from gateway.settings import GatewaySettings
from repo.environment import SettingsError


def test_defaults_and_the_address_on_the_port_that_was_given() -> None:
    made = GatewaySettings()
    assert (made.host, made.port, made.decision_timeout_seconds, made.window_seconds) == ("127.0.0.1", 8000, 2.0, 300.0)
    assert made.on_port(4711).origin == "http://127.0.0.1:4711"
    assert GatewaySettings(host="0.0.0.0").on_port(1).origin == "http://127.0.0.1:1"  # noqa: S104 -- only read
    assert GatewaySettings(host="::1").on_port(1).origin == "http://[::1]:1"
    assert GatewaySettings(public_url="https://v.test/").on_port(1).origin == "https://v.test"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENV_PORT", "9001")
    monkeypatch.setenv("OPENV_ALLOWED_ORIGINS", "https://a.test/, https://b.test")
    made = GatewaySettings()
    assert (made.port, made.allowed_origins) == (9001, ("https://a.test", "https://b.test"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "70000"), ("port", "x"), ("public_url", "videos.test"), ("public_url", "https://v.test/sub"),
     ("decision_timeout_seconds", "0"), ("key_cache_seconds", "31")],
)  # fmt: skip
def test_a_wrong_one_is_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"OPENV_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"OPENV_{name.upper()} is not valid") as error:
        GatewaySettings()
    assert "\n" not in str(error.value)
