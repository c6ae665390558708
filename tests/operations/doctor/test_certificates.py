"""Certificates of servers that are reached over TLS, against a server with one of its own."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import pytest

from operations.core.findings import Level
from operations.doctor import certificates_check
from repo.clock import now_ms
from tests.servers import closed_port

DAY = 86_400_000


def a_certificate(folder: Path, *dates: str) -> tuple[Path, Path]:
    """A self-signed one for localhost, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run([*made, *dates], check=True, capture_output=True, timeout=60)
    return cert, key


@contextmanager
def serving(cert: Path, key: Path) -> Iterator[int]:
    """The port of a TLS server that says nothing more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True):
                pass

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            thread.join(30)


def seen(folder: Path, *dates: str) -> int | str | None:
    """What a client that trusts the certificate sees."""
    cert, key = a_certificate(folder, *dates)
    with serving(cert, key) as port:
        return certificates_check.end_of("localhost", port, ssl.create_default_context(cafile=str(cert)))


def test_the_end_of_a_certificate_is_read_from_the_server(tmp_path: Path) -> None:
    end = seen(tmp_path, "-days", "3")
    assert isinstance(end, int)
    assert abs(end - (now_ms() + 3 * DAY)) < DAY / 2
    (soon,) = certificates_check.judged("localhost:1", end, now_ms())
    assert (soon.level, "it ends in 2 d" in soon.what or "it ends in 3 d" in soon.what) == (Level.PROBLEM, True)


def test_one_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    with serving(*a_certificate(tmp_path, "-days", "3")) as port:
        words = certificates_check.end_of("localhost", port)
    assert isinstance(words, str)
    assert "self" in words
    assert certificates_check.end_of("127.0.0.1", closed_port()) is None, "another check's"


def test_one_that_has_expired_is_told_as_that(tmp_path: Path) -> None:
    class Refusing(ssl.SSLContext):
        """Says what OpenSSL says of it; this machine's openssl makes none that is over."""

        def wrap_socket(self, *_: object, **__: object) -> ssl.SSLSocket:
            error = ssl.SSLCertVerificationError()
            error.verify_code, error.verify_message = 10, "certificate has expired"
            raise error

    with serving(*a_certificate(tmp_path)) as port:
        words = certificates_check.end_of("localhost", port, Refusing(ssl.PROTOCOL_TLS_CLIENT))
    assert words == "it has expired"


@pytest.mark.parametrize(
    ("end", "words"),
    [(100 * DAY, ""), (None, ""), ("it has expired", "it has expired"), (-1, "it has expired"), (5 * DAY, "in 5 d")],
)
def test_what_is_told_of_a_certificate(end: int | str | None, words: str) -> None:
    now = 1_790_000_000_000
    found = certificates_check.judged("a:443", now + end if isinstance(end, int) else end, now)
    assert [words in one.what for one in found] == ([True] if words else [])


def test_only_https_is_asked() -> None:
    urls = ["https://a.example", "http://b.example", "https://c.example:8443/x", "https://a.example/y"]
    assert certificates_check._places(urls) == [("a.example", 443), ("c.example", 8443)]
