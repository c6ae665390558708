"""Which pages may act with a visitor's cookie: those of this gateway, and those that an operator named.

A browser sends ``Origin`` with every unsafe request and with every WebSocket handshake; pages can't forge it.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit


def may_act(origin: str | None, *, scheme: str, host: str | None, allowed: Iterable[str]) -> bool:
    """Whether a request with a cookie comes from a page of ours: same scheme and ``Host``, or an allowed origin.

    A missing or opaque (``null``) origin may not.
    """
    if origin is None or origin == "null":
        return False
    own = f"{'https' if scheme in {'https', 'wss'} else 'http'}://{host}" if host else None
    return origin == own or origin in set(allowed)


def is_our_name(host: str | None, ours: Iterable[str]) -> bool:
    """Whether a ``Host`` is an address, this machine's own name, or that of one of our origins.

    Any other name may be made to lead here by whoever owns it, and a page of that name is then of our "own" origin.
    """
    name = urlsplit(f"//{host}").hostname if host else None
    if name is None:
        return False
    if name == "localhost" or name in {urlsplit(origin).hostname for origin in ours}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def cookie_name(public_url: str) -> str:
    """The session cookie's name: with the port, because browsers share cookies between the ports of a host.

    Over HTTPS it begins with ``__Host-``: browsers take it only from this very host, over TLS and for every path, so
    that no subdomain and no page without TLS can plant one (RFC 6265bis, section 4.1.3.2).
    """
    where = urlsplit(public_url)
    name = f"openv_session_{where.port}" if where.port else "openv_session"
    return f"__Host-{name}" if where.scheme == "https" else name


def origin_of(url: str) -> str:
    """Scheme and host of an address, as content security policies name sources."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
