"""The variables of the engine ``runpod``: what is missing or wrong is said in a sentence, without its value."""

import os

import pytest

from inference_worker.remote.settings import RunPodSettings, Signing
from repo.environment import SettingsError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENV_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENV_RUNPOD_ENDPOINT", "abc123")
    monkeypatch.setenv("OPENV_RUNPOD_API_KEY", "rpa_0123")


def test_the_defaults_let_in_the_public_internet_alone() -> None:
    settings = RunPodSettings()
    assert (settings.url, settings.slots) == ("https://api.runpod.ai/v2", 8)
    assert (settings.rules().allow_http, settings.rules().networks) == (False, ())
    assert "rpa_0123" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "OPENV_RUNPOD_ENDPOINT",
            "",
            "OPENV_RUNPOD_ENDPOINT is not set: OPENV_ENGINE=runpod needs the endpoint's id (",
        ),
        ("OPENV_RUNPOD_API_KEY", "", "OPENV_RUNPOD_API_KEY is not set: OPENV_ENGINE=runpod needs a key that may read"),
        ("OPENV_RUNPOD_API_KEY", "two secrets", "OPENV_RUNPOD_API_KEY is not valid: a key is ASCII"),
        ("OPENV_RUNPOD_API_KEY", "secret\n", "OPENV_RUNPOD_API_KEY is not valid: a key is ASCII"),
        ("OPENV_RUNPOD_ENDPOINT", "../x", "an endpoint's id"),
        ("OPENV_RUNPOD_ENDPOINT", "https://api.runpod.ai/v2/abc123", "of an address, what follows /v2/"),
        ("OPENV_RUNPOD_URL", "ftp://x", "OPENV_RUNPOD_URL is not valid: an address"),
        ("OPENV_RUNPOD_URL", "https://x/v2?key=secret", "an address"),
        ("OPENV_RUNPOD_SLOTS", "0", "OPENV_RUNPOD_SLOTS is not valid"),
        ("OPENV_RUNPOD_RESULT_NETWORKS", "10.0.0.0/33", "OPENV_RUNPOD_RESULT_NETWORKS is not valid"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        RunPodSettings()
    assert words in str(raised.value)
    assert "secret" not in str(raised.value)


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENV_RUNPOD_ENDPOINT")
    monkeypatch.delenv("OPENV_RUNPOD_API_KEY")
    with pytest.raises(SettingsError) as raised:
        RunPodSettings()
    said = str(raised.value)
    assert said.startswith("OPENV_RUNPOD_ENDPOINT and OPENV_RUNPOD_API_KEY are not set: OPENV_ENGINE=runpod needs the ")
    for where in ("what follows /v2/ in its address", "RunPod's console, API Keys", "runs without it"):
        assert where in said


def test_the_first_secret_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENV_WEBHOOK_SECRET", f"{'a' * 32}, {'b' * 32}")
    assert Signing().first() == "a" * 32
    for short in ("", "short"):
        monkeypatch.setenv("OPENV_WEBHOOK_SECRET", short)
        with pytest.raises(SettingsError, match="needs the gateway's OPENV_WEBHOOK_SECRET"):
            Signing().first()
