"""What a worker of the engine ``runpod`` says at its start: what is missing, where to get it, what works without."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from inference_worker.remote import starting
from inference_worker.remote.settings import RunPodSettings, Signing
from inference_worker.remote.starting import require_all, tell
from repo.environment import SettingsError

WHOLE: dict[str, Any] = {"endpoint": "abc123", "api_key": "rpa_0123"}
SECRET = "s" * 32
NOWHERE = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "MONGODB_URI": "mongodb://127.0.0.1:1",
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "a",
    "S3_SECRET_ACCESS_KEY": "b",
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENV_"):
            monkeypatch.delenv(name)


def told(**settings: Any) -> list[Any]:
    with capture_logs() as logs:
        tell(RunPodSettings(**{**WHOLE, **settings}))
    assert not any("rpa_0123" in str(line) for line in logs)
    assert (logs[0]["event"], logs[0]["endpoint"]) == ("runs on RunPod", "abc123")
    return logs[1:]


def test_without_an_address_of_ours_all_works_by_asking() -> None:
    (said,) = told()
    assert (said["log_level"], said["setting"]) == ("info", "OPENV_RUNPOD_WEBHOOK_URL")
    assert said["event"] == "RunPod is asked, it does not call"
    assert "everything; the end of a run is seen up to 15 s late" in said["works"]
    assert "is made again" in said["lost"]
    assert "OPENV_WEBHOOK_SECRET" in said["mended_by"]
    assert "up to 4 s late" in told(poll_most_s=4)[0]["works"]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "http://localhost:8000", "https://10.0.0.7", "http://gateway:8000", "http://[::1]:8000",
     "http://nas.local", "https://192.168.1.2/openv"],
)  # fmt: skip
def test_an_address_that_runpod_can_not_reach_is_warned_of(url: str) -> None:
    (said,) = told(webhook_url=url)
    assert (said["log_level"], said["setting"]) == ("warning", "OPENV_RUNPOD_WEBHOOK_URL")
    assert "everything, as without it" in said["works"]


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://openv.example.org", None),
        ("https://9.9.9.9", None),
        ("https://[2620:fe::fe]:8443", None),
        ("http://127.0.0.1:8000", "http://127.0.0.1:9000/v2"),  # another OpenV, on this machine
    ],
)
def test_an_address_that_it_can_reach_is_not(url: str, service: str | None) -> None:
    (said,) = told(webhook_url=url, **({} if service is None else {"url": service}))
    assert (said["log_level"], said["event"]) == ("info", "RunPod calls")


def test_no_password_of_an_address_is_logged() -> None:
    assert "hush" not in str(told(webhook_url="https://runpod:hush@openv.example.org"))


def test_what_is_missing_for_an_address_is_said_before_anything_is_started() -> None:
    calls = RunPodSettings(**WHOLE, webhook_url="https://openv.example.org")
    require_all(calls, Signing(webhook_secret=SECRET))
    require_all(RunPodSettings(**WHOLE), Signing(webhook_secret=""))
    with pytest.raises(SettingsError) as raised:
        require_all(calls, Signing(webhook_secret=""))
    for words in ("the gateway's OPENV_WEBHOOK_SECRET here too", "openssl rand -hex 32", "all else works"):
        assert words in str(raised.value)


def test_a_package_that_is_missing_is_named_as_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "find_spec", lambda name: None if name in ("av", "PIL") else object())
    with pytest.raises(SettingsError, match=r"needs av, pillow to look at videos .* `pip install av pillow`"):
        require_all(RunPodSettings(**WHOLE), Signing())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "OPENV_RUNPOD_ENDPOINT and OPENV_RUNPOD_API_KEY are not set"),
        (
            {
                "OPENV_RUNPOD_ENDPOINT": "abc123",
                "OPENV_RUNPOD_API_KEY": "rpa_0123",
                "OPENV_RUNPOD_WEBHOOK_URL": "https://openv.example.org",
            },
            "OPENV_RUNPOD_WEBHOOK_URL needs the gateway's OPENV_WEBHOOK_SECRET",
        ),
    ],
)
def test_a_process_ends_at_once_and_says_why(settings: dict[str, str], words: str, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENV_", "S3_"))}
    environment = {**kept, **NOWHERE, "OPENV_ENGINE": "runpod", "OPENV_WORK_DIR": str(tmp_path / "work"), **settings}
    command = [sys.executable, "-m", "inference_worker"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert words in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert "rpa_0123" not in ended.stderr
