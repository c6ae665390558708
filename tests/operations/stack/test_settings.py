"""Which servers are somebody else's, and what child processes are told."""

from pathlib import Path

import pytest

from operations.stack.errors import StackError
from operations.stack.settings import StackSettings, child_environment, read_settings


def test_nothing_set_means_embedded_servers_and_defaults() -> None:
    assert read_settings({"KAFKA_BOOTSTRAP_SERVERS": " ", "MONGODB_URI": ""}) == StackSettings()


def test_external_servers_are_told_to_the_parts() -> None:
    environ = {
        "PATH": "/bin",
        "KAFKA_BOOTSTRAP_SERVERS": "kafka.internal:9092",
        "MONGODB_URI": "mongodb://db.internal",
        "MONGODB_DATABASE": "videos",
        "S3_ENDPOINT_URL": "https://s3.internal",
        "S3_ACCESS_KEY_ID": "id",
        "S3_SECRET_ACCESS_KEY": "secret",
        "S3_BUCKET": "clips",
        "S3_REGION": "eu-central-1",
    }
    told = child_environment(read_settings(environ), {}, Path("/data"), environ)
    assert told == {**environ, "OPENV_DATA_DIR": "/data"}


def test_embedded_servers_are_told_to_the_parts_and_kept_from_proxies() -> None:
    embedded = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "S3_ENDPOINT_URL": "http://127.0.0.1:2"}
    told = child_environment(StackSettings(), embedded, Path("/data"), {"no_proxy": "corp.internal"})
    assert told["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:1"
    assert told["S3_BUCKET"] == "openv"
    assert told["NO_PROXY"] == told["no_proxy"] == "corp.internal,127.0.0.1,localhost"


@pytest.mark.parametrize(
    "environ",
    [
        {"S3_ENDPOINT_URL": "https://s3.internal", "S3_ACCESS_KEY_ID": "id"},
        {"S3_ENDPOINT_URL": "https://s3.internal", "S3_SECRET_ACCESS_KEY": "secret"},
        {"S3_ACCESS_KEY_ID": "id", "S3_SECRET_ACCESS_KEY": "secret"},
    ],
)
def test_half_a_setting_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(StackError, match="S3_ACCESS_KEY_ID"):
        read_settings(environ)
