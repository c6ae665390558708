"""The Faust app's settings, each of which answers a fault that was seen, and the private members that are relied on."""

import ssl
from types import SimpleNamespace
from typing import Any

import aiokafka.consumer.group_coordinator as coordinators
import pytest

from repo.settings import ServerSettings
from streams.app import App, is_member, make_app
from streams.settings import Role, StreamsSettings


def servers(**changes: Any) -> ServerSettings:
    values = {
        "kafka_bootstrap_servers": "one:9092, two:9093,three",
        "mongodb_uri": "mongodb://nowhere",
        "s3_endpoint_url": "http://nowhere",
        "s3_access_key_id": "a",
        "s3_secret_access_key": "b",
    }
    return ServerSettings(**(values | changes))


def made(**changes: Any) -> App:
    app = make_app(Role.LEDGER, servers(**changes), StreamsSettings())
    app.finalize()
    return app


def test_the_settings_that_matter() -> None:
    conf = made().conf
    assert conf.id == "openv-ledger"
    assert [f"{url.host}:{url.port}" for url in conf.broker] == ["one:9092", "two:9093", "three:9092"]
    assert str(conf.processing_guarantee.value) == "at_least_once"
    assert conf.topic_allow_declare is False
    assert conf.topic_disable_leader is True
    assert conf.web_enabled is False
    assert conf.stream_wait_empty is False
    assert conf.stream_buffer_maxsize == 64
    assert conf.broker_max_poll_interval > 86_400
    assert conf.broker_session_timeout <= 10
    assert conf.broker_heartbeat_interval * 2 < conf.broker_session_timeout
    assert conf.broker_commit_interval <= 1
    assert conf.consumer_auto_offset_reset == "earliest"


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_it_logs_in_as_the_event_log_does(protocol: str) -> None:
    credentials = made(
        kafka_security_protocol=protocol,
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="openv",
        kafka_sasl_password="secret",
    ).conf.broker_credentials
    assert (credentials.username, credentials.password) == ("openv", "secret")
    assert credentials.mechanism.value == "SCRAM-SHA-512"
    assert credentials.protocol.value == protocol
    assert isinstance(credentials.ssl_context, ssl.SSLContext) == (protocol == "SASL_SSL")


def test_tls_alone() -> None:
    credentials = made(kafka_security_protocol="SSL").conf.broker_credentials
    assert credentials.protocol.value == "SSL"


class _Task:
    def __init__(self, *, done: bool) -> None:
        self._done = done

    def done(self) -> bool:
        return self._done


def app_with(coordinator: object) -> Any:
    consumer = SimpleNamespace(_coordinator=coordinator)
    return SimpleNamespace(consumer=SimpleNamespace(_thread=SimpleNamespace(_consumer=consumer)))


@pytest.mark.parametrize(
    ("generation", "failure", "done", "member"),
    [(3, None, False, True), (-1, None, False, False), (3, OSError(), False, False), (3, None, True, False)],
)
def test_who_is_a_member(generation: int, failure: OSError | None, done: bool, member: bool) -> None:
    coordinator = SimpleNamespace(
        generation=generation, _pending_exception=failure, _coordination_task=_Task(done=done)
    )
    assert is_member(app_with(coordinator)) is member
    assert is_member(app_with(None)) is False


def test_aiokafka_still_has_what_membership_is_read_from() -> None:
    names = coordinators.GroupCoordinator.__init__.__code__.co_names
    assert {"generation", "_pending_exception", "_coordination_task"} <= set(names)
