"""What ``openv up`` refuses before it starts anything: a worker of the engine ``runpod`` that could never work."""

import os

import pytest

from operations.preflight import require_settings
from repo.environment import SettingsError

RUNPOD = {"OPENV_ENGINE": "runpod", "OPENV_RUNPOD_ENDPOINT": "abc123", "OPENV_RUNPOD_API_KEY": "rpa_0123"}
CALLED = {"OPENV_RUNPOD_WEBHOOK_URL": "https://openv.example.org"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("OPENV_", "S3_FALLBACK_", "MONTHLY_", "LIMIT_")):
            monkeypatch.delenv(name)
    for name, value in RUNPOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_what_is_whole_passes(environment: pytest.MonkeyPatch) -> None:
    require_settings()
    for name, value in {**CALLED, "OPENV_WEBHOOK_SECRET": "s" * 32}.items():
        environment.setenv(name, value)
    require_settings()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"OPENV_RUNPOD_ENDPOINT": "", "OPENV_RUNPOD_API_KEY": ""}, "OPENV_RUNPOD_ENDPOINT and OPENV_RUNPOD_API_KEY"),
        ({"OPENV_ENGINE": "foo"}, "OPENV_ENGINE is not valid: choose auto, mochi, tiny, runpod or package"),
        ({"OPENV_ENGINE": "a package:it"}, "OPENV_ENGINE is not valid"),
        (CALLED, "OPENV_RUNPOD_WEBHOOK_URL needs the gateway's OPENV_WEBHOOK_SECRET"),
    ],
)
def test_what_is_missing_is_said_before_any_server_runs(
    environment: pytest.MonkeyPatch, changes: dict[str, str], words: str
) -> None:
    for name, value in changes.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError, match=words):
        require_settings()
    environment.setenv("OPENV_ENGINE", "tiny")
    require_settings()
