"""The environment's variables, and which engine they choose."""

import os
from pathlib import Path

import pytest

from inference_worker.settings import MOCHI_VARIABLE, WorkerSettings, sees_gpu, unique_name
from repo.core.addresses import Rules, read_networks
from repo.environment import SettingsError
from schemas.ids import is_name


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OPENV_", "S3_")):
            monkeypatch.delenv(name)


def test_the_defaults() -> None:
    settings = WorkerSettings()
    assert (settings.engine, settings.pool) == ("auto", "mochi-1")
    assert settings.limits().beat_ms == 5_000
    assert settings.limits().stalled_ms == 900_000
    assert settings.patience().main_s == 600


def test_names_differ_and_are_names() -> None:
    assert is_name(unique_name())
    assert WorkerSettings().worker_id != WorkerSettings().worker_id


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENV_WORKER_ID", "gpu-7")
    monkeypatch.setenv("OPENV_POOL", "mochi-fast")
    monkeypatch.setenv("OPENV_WORK_DIR", str(tmp_path))
    monkeypatch.setenv("OPENV_CHILD_STALLED_S", "60")
    settings = WorkerSettings()
    assert (settings.worker_id, settings.pool, settings.work_dir) == ("gpu-7", "mochi-fast", tmp_path)
    assert settings.limits().stalled_ms == 60_000


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OPENV_WORKER_ID", "a/../b", "OPENV_WORKER_ID must be"),
        ("OPENV_POOL", "two words", "OPENV_POOL must be"),
        ("OPENV_BEAT_S", "soon", "OPENV_BEAT_S is not valid"),
        ("OPENV_BEAT_S", "60", "OPENV_BEAT_S is not valid"),
        ("OPENV_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8, home", "OPENV_WEBHOOK_ALLOWED_NETWORKS is not valid"),
    ],
)
def test_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        WorkerSettings()


def test_auto_is_mochi_only_with_a_gpu_and_weights(tmp_path: Path) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    settings, none = WorkerSettings(), tmp_path / "none"
    weights = {MOCHI_VARIABLE: "/models/mochi"}
    assert settings.chosen_engine(weights, tmp_path) == "mochi"
    assert settings.chosen_engine({}, tmp_path) == "tiny"
    assert settings.chosen_engine(weights, none) == "tiny"
    assert settings.chosen_engine({**weights, "CUDA_VISIBLE_DEVICES": ""}, tmp_path) == "tiny"
    assert WorkerSettings(engine="runway.engine:made").chosen_engine(weights, tmp_path) == "runway.engine:made"


@pytest.mark.parametrize("name", ["runway", "Mochi", "a b:c", "a:", ":b", "a:b:c", "../a:b"])
def test_what_is_no_engine_is_said_at_once(name: str) -> None:
    with pytest.raises(SettingsError, match="OPENV_ENGINE is not valid: choose auto, mochi, tiny, runpod or package"):
        WorkerSettings(engine=name)


def test_a_gpu_can_be_chosen_by_number(tmp_path: Path) -> None:
    (tmp_path / "gpu").mkdir()
    assert sees_gpu({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path)
    assert not sees_gpu({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path)


def test_clients_buckets_may_be_where_webhooks_may_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WorkerSettings().bucket_rules() == Rules()
    monkeypatch.setenv("OPENV_WEBHOOK_ALLOW_HTTP", "1")
    monkeypatch.setenv("OPENV_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")
    assert WorkerSettings().bucket_rules() == Rules(True, read_networks("10.0.0.0/8,fd00::/8"))
