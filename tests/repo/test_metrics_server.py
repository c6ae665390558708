"""The server of metrics: what it answers, and what it lets nobody do to the process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from repo import metrics_server
from repo.environment import SettingsError
from repo.metrics_server import CONNECTIONS, Exposition, MetricsServer, MetricsSettings, serve_metrics

WITHIN_S = 30.0


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def server(registry: CollectorRegistry) -> Iterator[MetricsServer]:
    with MetricsServer("127.0.0.1", 0, registry) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def url(server: MetricsServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def connected(server: MetricsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S)


def test_it_shows_the_registry_and_nothing_else(registry: CollectorRegistry, url: str) -> None:
    Counter("openv_seen_total", "Seen.", registry=registry).inc(3)
    with httpx.Client(trust_env=False, timeout=WITHIN_S) as http:
        shown = http.get(f"{url}/metrics?x=1")
        assert shown.status_code == 200
        assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "openv_seen_total 3.0" in shown.text
        assert http.get(f"{url}/").status_code == 404
        assert http.post(f"{url}/metrics", content=b"x").status_code == 501
        assert "connection" not in shown.headers or shown.headers["connection"] != "keep-alive"


def test_one_connection_gets_one_answer(server: MetricsServer) -> None:
    with closing(connected(server)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" * 2)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        assert answer.count(b"HTTP/1.0 200") == 1


def test_one_too_many_is_turned_away_and_makes_no_thread(server: MetricsServer) -> None:
    silent = [connected(server) for _ in range(CONNECTIONS)]
    try:
        until(lambda: len(server._open) == CONNECTIONS)
        with closing(connected(server)) as late:
            assert late.recv(1) == b"", "closed at once"
    finally:
        for client in silent:
            client.close()
    until(lambda: not server._open)


def test_who_stays_is_cut_off_however_little_is_sent_in_time(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTION_S", 0.3)
    with closing(connected(server)) as slow:
        slow.setblocking(False)
        ended = False
        deadline = time.monotonic() + WITHIN_S
        while not ended and time.monotonic() < deadline:
            try:
                slow.send(b"G")  # never a whole line, and never silent for long
                ended = slow.recv(1) == b""
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:
                ended = True
        assert ended
    until(lambda: not server._open)


def test_a_defect_of_one_number_is_an_answer(registry: CollectorRegistry, url: str) -> None:
    class Broken(Collector):
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> Iterator[Metric]:
            raise ValueError("a secret")

    registry.register(Broken())
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=WITHIN_S)
    assert answer.status_code == 500
    assert "a secret" not in answer.text


def test_the_text_is_made_once_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def generate(_: CollectorRegistry) -> bytes:
        made.append(1)
        return str(len(made)).encode()

    monkeypatch.setattr(metrics_server, "generate_latest", generate)
    now = [100.0]
    monkeypatch.setattr(metrics_server.time, "monotonic", lambda: now[0])
    exposition = Exposition(CollectorRegistry())
    assert [exposition.text() for _ in range(5)] == [b"1"] * 5
    now[0] += 1.0
    assert exposition.text() == b"2"


def test_a_number_that_never_comes_holds_up_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "WAIT_S", 0.05)
    hung = threading.Event()
    monkeypatch.setattr(metrics_server, "generate_latest", lambda _: str(hung.wait(WITHIN_S)).encode())
    exposition = Exposition(CollectorRegistry())
    first = threading.Thread(target=exposition.text)
    first.start()
    try:
        until(exposition._lock.locked)
        with pytest.raises(TimeoutError):
            exposition.text()
    finally:
        hung.set()
        first.join()


def test_a_taken_port_is_tried_again(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "BIND_AGAIN_S", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        serve_metrics(registry, MetricsSettings(port=port))
    until(lambda: answers(port))


def test_without_a_port_nothing_is_served(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENV_METRICS_PORT", raising=False)
    before = threading.active_count()
    serve_metrics(registry)
    assert threading.active_count() == before


def test_a_port_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENV_METRICS_PORT", "70000")
    with pytest.raises(SettingsError, match="OPENV_METRICS_PORT"):
        MetricsSettings()


@pytest.mark.parametrize(("host", "address"), [("::1", "[::1]"), ("::", "[::1]"), ("m.example.org", "m.example.org")])
def test_the_address_that_people_are_told(host: str, address: str) -> None:
    assert MetricsSettings(host=host).address == address


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=WITHIN_S).is_success
    except httpx.HTTPError:
        return False


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)
