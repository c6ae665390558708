"""The second S3 server's variables."""

import os

import pytest

from repo.environment import SettingsError
from repo.settings import FallbackSettings, ServerSettings

COMPLETE = {
    "S3_FALLBACK_ENDPOINT_URL": "http://second:1",
    "S3_FALLBACK_ACCESS_KEY_ID": "id",
    "S3_FALLBACK_SECRET_ACCESS_KEY": "hidden",
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("S3_"):
            monkeypatch.delenv(name)


def servers() -> ServerSettings:
    return ServerSettings(
        kafka_bootstrap_servers="k:1",
        mongodb_uri="mongodb://m",
        s3_endpoint_url="http://s:1",
        s3_public_endpoint_url="http://public",
        s3_access_key_id="a",
        s3_secret_access_key="b",
        s3_bucket="first",
    )


def told(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in (COMPLETE | changes).items():
        monkeypatch.setenv(name, value)


def test_without_an_endpoint_there_is_none() -> None:
    assert FallbackSettings().as_servers(servers()) is None


def test_it_replaces_all_of_s3_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch)
    second = FallbackSettings().as_servers(servers())
    assert second
    assert (second.kafka_bootstrap_servers, second.s3_endpoint_url, second.s3_bucket) == (
        "k:1",
        "http://second:1",
        "openv",
    )
    assert second.s3_signing_url == "http://second:1", "never the main store's public address"
    assert second.s3_secret_access_key.get_secret_value() == "hidden"
    assert "hidden" not in repr(second)


def test_it_has_a_public_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, S3_FALLBACK_PUBLIC_ENDPOINT_URL="https://files.example.org")
    second = FallbackSettings().as_servers(servers())
    assert second
    assert (second.s3_endpoint_url, second.s3_signing_url) == ("http://second:1", "https://files.example.org")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("S3_FALLBACK_ACCESS_KEY_ID", "", "S3_FALLBACK_ENDPOINT_URL needs S3_FALLBACK_ACCESS_KEY_ID"),
        ("S3_FALLBACK_SECRET_ACCESS_KEY", "", "S3_FALLBACK_ENDPOINT_URL needs S3_FALLBACK_ACCESS_KEY_ID"),
        ("S3_FALLBACK_ENDPOINT_URL", "second:1", "S3_FALLBACK_ENDPOINT_URL is not valid: an address like"),
        ("S3_FALLBACK_PUBLIC_ENDPOINT_URL", "ftp://x", "S3_FALLBACK_PUBLIC_ENDPOINT_URL is not valid: an address like"),
        ("S3_FALLBACK_BUCKET", "a", "S3_FALLBACK_BUCKET is not valid"),
    ],
)
def test_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    told(monkeypatch, **{name: value})
    with pytest.raises(SettingsError, match=says) as raised:
        FallbackSettings()
    assert "hidden" not in str(raised.value)
