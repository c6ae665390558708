"""Settings come from the environment; what is wrong with them is one sentence that names the variable."""

import pytest

from repo.environment import SettingsError
from repo.settings import ServerSettings

GOOD = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "MONGODB_URI": "mongodb://mongo",
    "S3_ENDPOINT_URL": "http://s3:8333",
    "S3_ACCESS_KEY_ID": "id",
    "S3_SECRET_ACCESS_KEY": "very secret",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_the_rest_has_defaults() -> None:
    settings = ServerSettings()
    assert (settings.mongodb_database, settings.s3_bucket, settings.s3_region) == ("openv", "openv", "us-east-1")
    assert settings.s3_signing_url == "http://s3:8333"
    assert settings.kafka_security_protocol == "PLAINTEXT"


def test_urls_may_be_signed_for_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_PUBLIC_ENDPOINT_URL", "https://files.example.org")
    assert ServerSettings().s3_signing_url == "https://files.example.org"


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, empty: bool) -> None:
    if empty:
        monkeypatch.setenv(name, "")
    else:
        monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=rf"^{name} is not set: .*\.$"):
        ServerSettings()


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        monkeypatch.delenv(name)
    with pytest.raises(SettingsError) as caught:
        ServerSettings()
    names, _, rest = str(caught.value).partition(" are not set: ")
    assert set(names.replace(" and ", ", ").split(", ")) == GOOD.keys()
    assert "`openv up`" in rest


def test_a_wrong_value_is_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "very secret")
    with pytest.raises(SettingsError, match="KAFKA_SECURITY_PROTOCOL is not valid") as caught:
        ServerSettings()
    assert "very secret" not in str(caught.value)


def test_sasl_needs_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "openv")
    with pytest.raises(SettingsError, match="SASL_SSL needs KAFKA_SASL_PASSWORD"):
        ServerSettings()
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "very secret")
    assert ServerSettings().kafka_sasl_username == "openv"


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "very secret")
    assert "very secret" not in repr(ServerSettings())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "one:1,,two:2"),
        ("KAFKA_SSL_CAFILE", "/nowhere/ca.pem"),
        ("MONGODB_URI", "http://user:secret@mongo"),
        ("MONGODB_DATABASE", "open v"),
        ("S3_ENDPOINT_URL", "s3:8333"),
        ("S3_ENDPOINT_URL", "http://s3:port"),
        ("S3_PUBLIC_ENDPOINT_URL", "https://"),
        ("S3_BUCKET", "a bucket"),
    ],
)
def test_an_address_that_no_client_could_use_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    monkeypatch.setenv(name, wrong)
    with pytest.raises(SettingsError, match=rf"^{name} is not valid: .*\.$") as caught:
        ServerSettings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("hosts", ["kafka", "10.0.0.1:9092", "a.example:9092, b.example:9093", "[::1]:9092"])
def test_kafka_may_be_named_in_every_usual_way(monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", hosts)
    assert ServerSettings().kafka_bootstrap_servers == hosts
