"""Which pages may act with a visitor's cookie: those of this gateway, and those that an operator named.

A browser sends ``Origin`` with every unsafe request and with every WebSocket handshake; pages can't forge it.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit


def may_act(origin: str | None, *, scheme: str, host: str | None, allowed: Iterable[str]) -> bool:
    """Whether a request with a cookie comes from a page of ours: same scheme and ``Host``, or an allowed origin.

    A missing or opaque (``null``) origin may not.
    """
    if origin is None or origin == "null":
        return False
    own = f"{'https' if scheme in {'https', 'wss'} else 'http'}://{host}" if host else None
    return origin == own or origin in set(allowed)


def cookie_name(public_url: str) -> str:
    """The session cookie's name: with the port, because browsers share cookies between the ports of a host."""
    port = urlsplit(public_url).port
    return f"openv_session_{port}" if port else "openv_session"


def origin_of(url: str) -> str:
    """Scheme and host of an address, as content security policies name sources."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
