"""Origins: which pages may act with a visitor's cookie."""

import pytest

from gateway.core.origins import cookie_name, is_our_name, may_act, origin_of


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "may"),
    [
        ("http://localhost:8000", "http", "localhost:8000", True),
        ("http://localhost:8000", "ws", "localhost:8000", True),
        ("https://v.test", "wss", "v.test", True),
        ("https://public.test", "http", "10.0.0.1:8000", True),  # behind a proxy: named by the public address
        ("http://localhost:8001", "http", "localhost:8000", False),
        ("https://localhost:8000", "http", "localhost:8000", False),
        ("http://evil.test", "http", "localhost:8000", False),
        ("http://localhost:8000.evil.test", "http", "localhost:8000", False),
        ("null", "http", "null", False),
        ("", "http", "", False),
        (None, "http", "localhost:8000", False),
        ("http://None", "http", None, False),
    ],
)
def test_who_may_act(origin: str | None, scheme: str, host: str | None, may: bool) -> None:
    assert may_act(origin, scheme=scheme, host=host, allowed=["https://public.test"]) is may


def test_cookies_are_named_by_port_because_browsers_do_not_tell_ports_apart() -> None:
    assert cookie_name("http://127.0.0.1:8000") == "openv_session_8000"
    assert cookie_name("http://videos.test") == "openv_session"


def test_over_https_a_cookie_is_bound_to_the_host() -> None:
    assert cookie_name("https://videos.test") == "__Host-openv_session"
    assert cookie_name("https://videos.test:8443") == "__Host-openv_session_8443"


def test_an_origin_is_scheme_and_host() -> None:
    assert origin_of("http://s3.test:8333/bucket/key?X-Amz-Signature=1") == "http://s3.test:8333"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("videos.example", True),
        ("videos.example:8000", True),
        ("app.example", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
        ("", False),
        (None, False),
    ],
)
def test_names_that_somebody_else_owns_are_not_ours(host: str | None, ours: bool) -> None:
    assert is_our_name(host, ("https://videos.example", "https://app.example")) is ours
